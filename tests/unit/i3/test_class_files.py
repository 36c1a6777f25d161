"""125 public frame classes written by real IceTray with random content: values as in its XML, bytes as in its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.unit.i3.xml_values import differences

from skymap_scanner.i3 import Frame, Opaque, catalogue, read_frames
from skymap_scanner.i3.text import object_to_plain, to_text

NAMES = re.findall(
    r"\w+",
    """
    AntennaSpectrum AntennaSpectrumMap AntennaTimeSeries AntennaTimeSeriesMap EFieldSpectrum EFieldSpectrumMap
    EFieldTimeSeries EFieldTimeSeriesMap FFTData FFTData3D FFTData3DMap FFTDataMap I3AntennaCalMap
    I3AntennaCalibration I3AntennaChannel I3AntennaChannelMap I3AntennaDataMap I3AntennaGeoMap I3Bool I3Calibration
    I3ComplexVector I3DEggCalMap I3DEggLaunchSeriesMap I3DEggStatusMap I3DOMLaunchSeriesMap I3DetectorStatus
    I3Direction I3Double I3EventHeader I3FilterResult I3FilterResultMap I3FlasherInfo I3FlasherInfoVect
    I3FlasherStatus I3FlasherStatusMap I3FlasherSubrunMap I3Geometry I3IceActBoolMap I3IceActDoubleMap
    I3IceActGeoMap I3IceActIntMap I3IceActPixelPositionMap I3IceActRecoPulseSeries I3IceActRecoPulseSeriesMap
    I3IceActStringMap I3IceActTelescopePixelDoubleMap I3IceActTelescopePixelUnsignedMap
    I3IceActTelescopePixelVectorIntMap I3IceActTelescopeStringDoubleMap I3IceActTriggerMap I3IceActUnsignedMap
    I3IceActWaveform I3IceActWaveformMap I3IceTopSLCCalibrationCollection I3Int I3LinearizedMCTree I3MCHitSeriesMap
    I3MCTree I3MapAntennaKeyAntennaKey I3MapI3ParticleIDDouble I3MapIntVectorInt I3MapKeyDouble I3MapKeyUInt
    I3MapKeyVectorDouble I3MapKeyVectorInt I3MapModuleKeyString I3MapStringBool I3MapStringDouble I3MapStringInt
    I3MapStringStringDouble I3MapStringVectorDouble I3MapTriggerDouble I3MapTriggerUInt I3MapTriggerVectorUInt
    I3MapUShortUShort I3MapUnsignedUnsigned I3Matrix I3ModuleGeoMap I3NoiseSuppressionRecordSeriesMap I3OMGeoMap
    I3Orientation I3PMTCalMap I3Particle I3Position I3RUsage I3RecoHitSeriesMap I3RecoPulseSeriesMap I3ScintGeoMap
    I3ScintRecoPulseSeriesMap I3ScintWaveformSeriesMap I3StationGeo I3StationGeoMap I3String I3Time I3TimeWindow
    I3TimeWindowSeries I3TimeWindowSeriesMap I3TrayInfo I3TriggerHierarchy I3UInt64 I3VectorAntennaKey I3VectorBool
    I3VectorChar I3VectorDouble I3VectorDoubleDouble I3VectorFloat I3VectorI3Particle I3VectorI3Position
    I3VectorI3Trigger I3VectorInt I3VectorInt64 I3VectorModuleKey I3VectorOMKey I3VectorScintKey I3VectorShort
    I3VectorString I3VectorTankKey I3VectorUInt I3VectorUInt64 I3VectorUShort I3WaveformSeriesMap I3XDOMHitSeriesMap
    I3mDOMCalMap I3mDOMLaunchSeriesMap I3mDOMStatusMap
    """,
)


@pytest.fixture
def classes(shared: Path) -> Path:
    folder = shared / "data" / "i3" / "classes"
    if not folder.is_dir():
        pytest.skip("needs files that IceTray wrote, in ../shared/data/i3/classes, which is not part of the repository")
    return folder


def frames_of(classes: Path, name: str) -> list[tuple[Path, Frame]]:
    files = sorted(classes.glob(f"{name}.random*.i3"))
    assert len(files) >= 2
    return [(file, frame) for file in files for frame in read_frames(file)]


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_those_in_the_xml(classes: Path, name: str) -> None:
    for file, frame in frames_of(classes, name):
        value = frame["Object"]
        assert not isinstance(value, Opaque)
        assert differences(value, file.with_suffix(".xml")) == []


@pytest.mark.parametrize("name", NAMES)
def test_object_is_encoded_to_the_same_bytes(classes: Path, name: str) -> None:
    for file, frame in frames_of(classes, name):
        assert frame.reencoded().to_bytes() == file.read_bytes()
        assert catalogue.type_name(frame["Object"]) == frame.type_name("Object")


@pytest.mark.parametrize("name", NAMES)
def test_object_has_text_and_json(classes: Path, name: str) -> None:
    for _, frame in frames_of(classes, name):
        plain = object_to_plain(frame, "Object")
        assert "value" in plain
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert all("\n" not in line for line in to_text(plain["value"]))


def test_every_file_is_listed(classes: Path) -> None:
    assert {file.name.partition(".")[0] for file in classes.glob("*.i3")} == set(NAMES)
