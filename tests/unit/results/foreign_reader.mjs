// Reads GeoJSON with d3-geo: foreign_reader.mjs FOLDER-OF-NPM GEOJSON PLACES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, geojson, places] = process.argv.slice(2);
const { geoArea, geoContains } = createRequire(`${packages}/`)("d3-geo");
const { features } = JSON.parse(readFileSync(geojson));
const regions = ["3 sigma", "50%", "90%"].map((name) => features.find((one) => one.properties.name === name));
for (const region of regions)
  // d3-geo has the interior on the other side of a ring than RFC 7946.
  for (const polygon of region.geometry.coordinates) for (const ring of polygon) ring.reverse();
const at = JSON.parse(readFileSync(places));
console.log(
  JSON.stringify({
    area: regions.map((region) => geoArea(region) * (180 / Math.PI) ** 2),
    polygons: regions.map((region) => at.map((place) => geoContains(region, place))),
  }),
);
