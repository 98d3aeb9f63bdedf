"""The language of the speaking base: short sentences of a narrow grammar, drawn by a seed.

About 160 words - names, colours, things, places, numbers, days - in some twenty patterns. Narrow on purpose: a model of
this size learns to say few words well rather than all words badly.
"""

import random
from collections.abc import Iterator

NAMES = "Anna Ben Clara David Emma Henry Julia Leo Maria Oscar".split()
COLOURS = "red blue green yellow black white brown grey purple golden".split()
SIZES = "small big new old little heavy".split()
THINGS = {
    "boat": "boats", "book": "books", "box": "boxes", "bottle": "bottles", "bag": "bags", "coat": "coats",
    "hat": "hats", "key": "keys", "lamp": "lamps", "letter": "letters", "map": "maps", "chair": "chairs",
    "table": "tables", "clock": "clocks", "basket": "baskets", "flower": "flowers", "stone": "stones",
    "picture": "pictures", "horse": "horses", "bird": "birds",
}  # fmt: skip
PLACES = "kitchen garden market river station school church bridge office forest tower village museum library".split()
NUMBERS = "two three four five six seven eight nine ten twelve twenty".split()
DIGITS = "zero one two three four five six seven eight nine".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TIMES = "morning evening night".split()
STATES = "open closed quiet cold warm empty".split()
TOOK = "found lost bought sold carried painted opened wanted".split()
NEAR = "near behind beside in".split()
PEOPLE = "I you we they".split()

PATTERNS = [
    "{name} {took} the {size} {colour} {thing} {near} the {place}.",
    "{name} {took} {a_size} {thing} on {day}.",
    "The {colour} {thing} is {near} the {place}.",
    "The {size} {thing} and the {colour} {thing2} are {near} the {place}.",
    "On {day} {time}, {name} {took} {number} {colour} {things}.",
    "On {day}, {people} {took} the {colour} {thing}.",
    "{name} and {name2} walked from the {place} to the {place2}.",
    "There are {number} {things} {near} the {place}.",
    "Where is the {size} {colour} {thing}?",
    "Please bring my {colour} {thing} to the {place}.",
    "{name} goes to the {place} every {day}.",
    "We have {number} {things} and {number2} {colour} {things2}.",
    "I saw {name} at the {place} on {day} {time}.",
    "The {place} is {state} on {day}.",
    "The {place} was {state} and {state2} this {time}.",
    "Give the {colour} {thing} to {name}, please.",
    "My number is {digit} {digit2} {digit3} {digit4}.",
    "{name} never {took} the {thing} from the {place}.",
    "Her {thing} is {colour}, but his {thing2} is {colour2}.",
    "Today {name} works at the {place} with {name2}.",
    "Tomorrow {people} will go to the {place} with {number} {things}.",
    "{name} always sings {near} the {place} at night.",
    "She put the {thing} on the {colour} {thing2}.",
    "He left {number} {things} in the {place} last {day}.",
]


def sentence(draw: random.Random) -> str:
    """One sentence of the grammar."""
    things, sizes = draw.sample(sorted(THINGS), 2), draw.choice(SIZES)
    names, places, states = draw.sample(NAMES, 2), draw.sample(PLACES, 2), draw.sample(STATES, 2)
    numbers, colours, digits = draw.sample(NUMBERS, 2), draw.sample(COLOURS, 2), draw.choices(DIGITS, k=4)
    return draw.choice(PATTERNS).format(
        name=names[0],
        name2=names[1],
        took=draw.choice(TOOK),
        size=sizes,
        a_size=f"{'an' if sizes[0] in 'aeiou' else 'a'} {sizes}",
        colour=colours[0],
        colour2=colours[1],
        thing=things[0],
        thing2=things[1],
        things=THINGS[things[0]],
        things2=THINGS[things[1]],
        near=draw.choice(NEAR),
        place=places[0],
        place2=places[1],
        day=draw.choice(DAYS),
        time=draw.choice(TIMES),
        people=draw.choice(PEOPLE),
        number=numbers[0],
        number2=numbers[1],
        state=states[0],
        state2=states[1],
        digit=digits[0],
        digit2=digits[1],
        digit3=digits[2],
        digit4=digits[3],
    )


def sentences(seed: int) -> Iterator[str]:
    """Different sentences, without end, the same for the same seed."""
    draw, seen = random.Random(seed), set()
    while True:
        text = sentence(draw)
        if text not in seen:
            seen.add(text)
            yield text


def words() -> list[str]:
    """Every word that a sentence can hold, in lower case, sorted."""
    slots = [NAMES, COLOURS, SIZES, THINGS, THINGS.values(), PLACES, NUMBERS, DIGITS, DAYS, TIMES, STATES, TOOK, NEAR]
    found = {word.lower() for slot in [*slots, PEOPLE, ["a", "an"]] for word in slot}
    for pattern in PATTERNS:
        found |= {word.strip(".,?").lower() for word in pattern.split() if "{" not in word}
    return sorted(found)
