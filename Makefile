.PHONY: help setup demo demo-report test test-vm test-vm-part capture-hosts check fast bench build clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 15

demo: ## make an encrypted guest disk, damage it, and show inspect, check, repair and undo on it
	@sh scripts/setup.sh demo
	@sh demo/demo.sh

demo-report: ## GDPR papers of a sample host, in both languages and all formats
	@sh scripts/setup.sh demo
	@sh demo/report/demo.sh

test: ## install what is missing, then all checks and all tests
	@sh scripts/setup.sh test
	@npm run --silent check:static
	@npm test --silent

test-vm: ## the tests that need a real kernel's device-mapper, md and nbd: in a virtual machine that is built here (nightly, 70 minutes)
	@sh scripts/setup.sh vm
	@npx vitest run --config test/vm/vitest.config.ts

test-vm-part: ## of these what CI runs: agreement with the kernel on every volume, and the kernel engine on arrays, pools, RAID and XFS (4 minutes)
	@sh scripts/setup.sh vm
	@npx vitest run --config test/vm/vitest.config.ts test/vm/layouts.test.ts test/vm/engine-layouts.test.ts

capture = $${XDG_CACHE_HOME:-$$HOME/.cache}/unterbau/capture
capture-hosts: ## record the real host of test/hosts/captured and its cases anew, in a virtual machine (root; an hour and more)
	@sh scripts/setup.sh capture
	@npm run --silent build
	@test/hosts/capture/capture.sh "$(capture)" "$(capture)/recorded"
	@node test/hosts/capture/overlays.mjs "$(capture)/recorded" test/hosts/captured
	@npx biome check --write test/hosts/captured

check: ## what every commit must pass: format, lint, types, import rules, unused code, fast tests
	@npm run --silent check:static
	@npm run --silent test:fast

build: ## bundle into dist/
	@npm run --silent build

bench: ## ratios beside other tools, on inputs made here
	@sh scripts/setup.sh test
	@npm run --silent bench

clean: ## remove what was built
	rm -rf dist coverage demo/work bench/work
