#!/bin/sh
# All papers in both languages and all formats, from a recorded host with a clean and a flawed guest. They lie in demo/work/papers; nothing else is touched.
set -eu
cd "$(dirname "$0")/../.."
work=demo/work
papers=$work/papers
rm -rf "$papers"
mkdir -p "$papers" "$work/state"
export UNTERBAU_STATE_DIR="$PWD/$work/state"
unterbau() { node dist/cli.js "$@"; }

echo "Measuring the sample host (demo/report/host over test/hosts/good) ..."
code=0
unterbau audit --root demo/report/host --root test/hosts/good --as-of 2026-11-24T06:00:00Z \
  --scope test/hosts/scope.yaml --no-keep --json >"$papers/audit.json" || code=$?
# 2: there are checks that fail, as there should be with a flawed guest.
[ "$code" -eq 2 ] || { echo "demo: exit code $code of the audit, expected 2" >&2; exit 1; }

formats=md,html,pdf,docx,json,oscal
node -e 'import("@myriaddreamin/typst-ts-node-compiler").catch(() => process.exit(1))' 2>/dev/null || {
  formats=md,html,docx,json,oscal
  echo "No PDF: the optional package @myriaddreamin/typst-ts-node-compiler is not installed."
}
papers_in() {
  unterbau report all --client mueller-soehne --lang "$1" --format "$formats" --audience internal \
    --audit "$papers/audit.json" --answers demo/report/answers --out "$papers/$1" >"$work/written-$1"
}
papers_in de &
german=$!
papers_in en
wait "$german"
for lang in de en; do
  echo "$(wc -l <"$work/written-$lang") papers in $PWD/$papers/$lang"
  rm "$work/written-$lang"
done
echo "Begin with $papers/de/tom-de.html, or $papers/en/deviations-en.pdf."
