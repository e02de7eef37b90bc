# The commands of this checkout. `make run` and `make test` need nothing before them.
# FLAGS go to the command: make run FLAGS='--listen 127.0.0.1:8080', make test FLAGS='tests/domain -x'

FLAGS ?=

.PHONY: help run test check coverage bench bench-federation bench-search differential fuzz soak netsplit interop attacks-prove

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1 \t/p' Makefile

run: .venv/.installed  ## start the server, with a PostgreSQL of its own, on ./parley-data
	@exec .venv/bin/parley run $(FLAGS)

test: .venv/.installed-dev  ## every test that always gives the same answer, with the servers that it needs
	@scripts/test $(FLAGS)

check: .venv/.installed-dev  ## lint, format, types, imports
	@scripts/check

coverage: .venv/.installed-dev  ## what the last `make test` did not run
	@scripts/coverage

bench: .venv/.installed-dev  ## CPU and latency beside Synapse (docs/reference/performance.md)
	@scripts/synapse-venv
	@.venv/bin/python -m tests.benchmarks $(FLAGS)

bench-federation: .venv/.installed-dev  ## CPU of a message between two servers and of a join, beside Synapse
	@scripts/synapse-venv
	@.venv/bin/python -m tests.benchmarks.federation $(FLAGS)

bench-search: .venv/.installed-dev  ## CPU of a search among 1,000,000 messages, and the size of its index
	@.venv/bin/python -m tests.benchmarks.search $(FLAGS)

differential: .venv/.installed-dev  ## the pure functions beside Synapse's, 10,000 cases for each room version
	@scripts/synapse-venv
	@.venv/bin/python -m tests.differential --cases 10000 $(FLAGS)

fuzz: .venv/.installed-dev  ## 10,000 requests that nobody should send, to every endpoint
	@.venv/bin/python -m tests.fuzz --cases 10000 $(FLAGS)

soak: .venv/.installed-dev  ## 20 minutes of churn and a flood of connections: nothing may grow on
	@.venv/bin/python -m tests.soak --minutes 20 $(FLAGS)

interop: .venv/.installed-dev  ## a real Synapse in the same rooms, each side as host, in room versions 10, 11 and 12
	@scripts/synapse-venv
	@.venv/bin/python -m tests.interop.synapse $(FLAGS)

netsplit: .venv/.installed-dev  ## three servers parted and joined again, ten seeds for each room version from 6 to 12
	@.venv/bin/python -m tests.netsplit $(FLAGS)

attacks-prove: .venv/.installed-dev  ## switches each defence off, and sees its test fail
	@.venv/bin/python -m tests.attacks_prove $(FLAGS)

.venv/.installed: pyproject.toml
	@scripts/install

.venv/.installed-dev: pyproject.toml
	@scripts/install dev
