"""The agent of `cryobridge cryosparc agent`, looking several times a second, for tests that kill it."""

from __future__ import annotations

import sys
from dataclasses import replace

from cryobridge.bridge.cli import main
from cryobridge.wrappers.cryosparc.agent import agent

if __name__ == "__main__":
    _settings = agent.AgentSettings
    agent.AgentSettings = lambda *given, **named: replace(_settings(*given, **named), poll_s=0.3)  # type: ignore[assignment,misc]
    sys.argv[1:1] = ["cryosparc", "agent"]
    main()
