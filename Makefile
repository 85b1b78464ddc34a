# Postern. `make` lists the targets; GO names another go command.
GO ?= go
DEMO_ARGS ?=
BENCH_ARGS ?=
FUZZTIME ?= 10m
EXTRA ?=
ROUNDS ?= 200
# Tests wait for servers more than they compute: more of them than cores.
SIDE_BY_SIDE ?= -p 4 -parallel 6

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./postern
	CGO_ENABLED=0 $(GO) build -trimpath -o postern .

.PHONY: demo
demo: build ## run the whole of Postern in one process and tell what happens (DEMO_ARGS=--once to end by itself)
	./postern demo $(DEMO_ARGS)

.PHONY: setup
setup: ## install the servers that the tests talk to, from Debian packages
	./testmail/env/install.sh

.PHONY: test
test: setup ## install what is missing, then run every test with -race and every fuzz target for a moment
	$(GO) test -race -timeout 14m $(SIDE_BY_SIDE) ./...
	./testmail/env/fuzz.sh

.PHONY: lint
lint: ## gofmt, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: format the files above"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: train
train: ## rebuild the classifier's model from the data in the repository, bit for bit
	$(GO) run ./classifier/train

.PHONY: eval
eval: ## precision, recall, F1, calibration and the worst ten errors on held-out letters (EXTRA=folder adds others)
	$(GO) run ./classifier/train -eval -extra "$(EXTRA)"

.PHONY: bench
bench: ## the rooms' own benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./gateway/... ./intake/... ./classifier/... ./queue/...

.PHONY: bench-relay
bench-relay: ## messages per second end to end beside Postfix and Postfix with OpenDKIM (BENCH_ARGS="-scale 0.1")
	./testmail/env/install.sh opendkim opendkim-tools
	$(GO) run ./testmail/bench relay $(BENCH_ARGS)

.PHONY: bench-loop
bench-loop: setup ## from a letter in Dovecot to the first refusal at the relay
	$(GO) run ./testmail/bench loop $(BENCH_ARGS)

.PHONY: bench-consent
bench-consent: setup ## memory and look-ups with 10 million subjects (BENCH_ARGS="-subjects 1000000")
	$(GO) run ./testmail/bench consent -subjects 10000000 $(BENCH_ARGS)

.PHONY: bench-intake
bench-intake: setup ## 20,000 mixed mails from Dovecot to stored cases, beside a client that only fetches them
	$(GO) run ./testmail/bench intake $(BENCH_ARGS)

.PHONY: bench-import
bench-import: setup ## a million rows imported, and the ledger they fill verified, whole and damaged
	$(GO) run ./testmail/bench import $(BENCH_ARGS)

.PHONY: crash
crash: setup ## kill -9 at random, 200 rounds of every crash test (ROUNDS=n for others), and outages of a minute under load
	CRASH_ROUNDS=$(ROUNDS) OUTAGE_SECONDS=60 $(GO) test -race -timeout 3h -count=1 -v -run 'Crash|Kill|Chaos|Outage' ./testmail/e2e ./gateway/spool ./gateway/delivery ./intake ./queue

.PHONY: screenshots
screenshots: setup ## pictures of the pages into build/screenshots, each checked by axe-core
	POSTERN_SCREENSHOTS=$(CURDIR)/build/screenshots $(GO) test -count=1 -run 'InBrowser' ./gateway/... ./queue/...
	cp build/screenshots/console-cases-1440-light-en.png deploy/docs/pictures/cases.png
	cp build/screenshots/console-case-1440-light-en.png deploy/docs/pictures/case.png
	cp build/screenshots/console-case-390-dark-en.png deploy/docs/pictures/case-phone.png

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 10m, 2000x for that many inputs) each
	@grep -rn --include='*_test.go' '^func Fuzz' . | \
	sed 's|^\(.*\)/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\)(.*|\1 \2|' | sort | \
	while read -r pkg target; do \
		echo "$$pkg $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	done
