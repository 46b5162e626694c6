"""`emo doctor`: what this machine can do."""

from __future__ import annotations

import typer

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

EXAMPLES = """Examples:

[bold]emo doctor[/bold]  versions, devices, ffmpeg, models; the exit code is that of the first problem

[bold]emo doctor --json > machine.json[/bold]  the same for a bug report"""


def doctor(json: take.JsonOption = False) -> None:
    """Tell what this machine can do, and how to mend what is missing; put its lines into a bug report."""
    with Report(as_json=json) as report:
        report.stage("looking around")
        from emo_cli.doctor import examine

        health = examine()
        width = max(len(finding.name) for finding in health.findings)
        lines = [f"{finding.name:<{width}}  {finding.value}" for finding in health.findings]
        problems = [f"{finding.name}: {finding.problem}" for finding in health.findings if finding.problem]
        verdict = problems or ["All that `emo animate` needs is here."]
        report.result(health, "\n".join([*lines, "", *verdict]))
    if health.exit_code:
        raise typer.Exit(health.exit_code)
