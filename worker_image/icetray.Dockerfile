# The image of all roles on top of IceTray, for `reconstruction: {name: icetray}`. From the repository's root:
#
#   docker build -f worker_image/icetray.Dockerfile -t skymap-scanner/worker-icetray:0.1.0 \
#       --build-arg ICETRAY=icecube/icetray:TAG --build-arg VERSION=0.1.0 .
#
# ICETRAY is an image with the module `millipede`, the photon tables and a Python of 3.11 or later (Ubuntu 24.04 has 3.12;
# 22.04, of which IceCube's published images are made, has 3.10, and the build says so). Never built by the project's tests.
ARG ICETRAY

FROM ${ICETRAY} AS build
USER 0
ENTRYPOINT []
WORKDIR /build
COPY . .
RUN python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"needs Python 3.11, and this IceTray is built for {sys.version}")'
# In a virtual environment that sees IceTray's own packages. NumPy stays IceTray's: its compiled modules were made for it.
RUN python3 -P -m venv --without-pip --system-site-packages /opt/skymap-scanner && \
    python3 -P -c 'import numpy; print(f"numpy=={numpy.__version__}")' >theirs.txt && \
    python3 -P -m pip --python /opt/skymap-scanner/bin/python install --no-cache-dir --no-compile \
        -c theirs.txt '.[pulsar,plots]' && \
    python3 -P dev/cluster/images/bytecode.py /opt/skymap-scanner
ENV NUMBA_CACHE_DIR=/opt/skymap-scanner/kernels
RUN PYTHONDONTWRITEBYTECODE=1 /opt/skymap-scanner/bin/skymap-scanner compile && rm /opt/skymap-scanner/kernels/*.lock
# IceTray's environment is made by a script, which has had two places.
RUN for shell in /opt/icetray/bin/icetray-shell /usr/local/icetray/env-shell.sh; do \
        if [ -e "$shell" ]; then break; fi; \
    done && test -e "$shell" && \
    printf '#!/bin/bash\nexec /bin/bash %s exec /opt/skymap-scanner/bin/skymap-scanner "$@"\n' "$shell" \
        >/opt/skymap-scanner/bin/skymap-scanner-in-icetray && \
    chmod +x /opt/skymap-scanner/bin/skymap-scanner-in-icetray

FROM ${ICETRAY}
ARG VERSION
LABEL org.opencontainers.image.title=skymap-scanner/worker-icetray \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.licenses="MIT AND GPL-2.0-only"
COPY --from=build /opt/skymap-scanner /opt/skymap-scanner
ENV HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/opt/skymap-scanner/kernels
WORKDIR /
USER 1000:1000
ENTRYPOINT ["/opt/skymap-scanner/bin/skymap-scanner-in-icetray"]
CMD []
