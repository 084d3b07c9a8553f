"""Console blocks in documents, and what of their output is the same on every machine and in every run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```console\n\$ qsmt (?P<arguments>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)


def blocks(document: str) -> dict[str, str]:
    """The arguments of each command that a document shows, and the output it shows."""
    return {
        m["arguments"]: m["output"] for m in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8"))
    }


def without_effort(text: str) -> str:
    """When points are cheaper than boxes is measured on every machine, and with it how tight a finished search is."""
    text = re.sub(r"\d+\.\d\d(?= s$)", "0.00", text, flags=re.MULTILINE)
    text = re.sub(r"\d+\.\d\d(?=  )", lambda m: "0.00".rjust(len(m[0])), text)  # columns stay where they are
    text = re.sub(r"analysed [\d,]+ boxes.*|─+", "", text)
    if "enumeration" in text:
        text = re.sub(r"(?<=no output differs by more than )[\d.e-]+", "BOUND", text)
        text = re.sub(r"(?m)^(  \d+ +)\[[^]]*\]", r"\1[CERTIFIED]", text)
        text = re.sub(r" +", " ", text)
    return text
