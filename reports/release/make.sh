#!/usr/bin/env bash
# Evidence of this version for the embedded models: `bash reports/release/make.sh`, in an environment with this checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=reports/release/$(python -c 'import snnverify; print(snnverify.__version__)')
snnverify report --gate --out "$folder/report"
snnverify gate "$folder/report" --junit "$folder/gate.xml" --json "$folder/gate.json" --summary "$folder/gate.md"
snnverify baseline "$folder/report" --out "$folder/baseline.json"
