"""Mend misheard words with the rules of data/replacements.yaml.

    python -m stages.correct KEY

Reads data/transcripts/KEY.json and writes data/corrected/KEY.json: the same transcript with other words, and under
`corrections` how often each rule changed something.
"""

from pathlib import Path

from stages.process.stage import recording_key, run  # isort: skip  (the frame of every stage)
from stages.speech.replacements import correct, read_rules
from stages.speech.transcript import read_transcript, transcript_path, write_transcript

TRANSCRIPTS = Path("data/transcripts")
CORRECTED = Path("data/corrected")


def main(key: str) -> None:
    rules = read_rules()
    corrected = correct(read_transcript(transcript_path(TRANSCRIPTS, key)), rules)
    write_transcript(transcript_path(CORRECTED, key), corrected)
    print(f"correct/{key}: {sum(entry.hits for entry in corrected.corrections)} hits of {len(rules)} rules")
    for entry in corrected.corrections:
        print(f"{entry.hits:5} x {entry.find!r} -> {entry.replace!r}")


if __name__ == "__main__":
    key = recording_key()
    run(lambda: main(key), f"correct/{key}")
