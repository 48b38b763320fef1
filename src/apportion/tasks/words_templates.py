"""Sentences of the word problems, as data.

Splits hold out *combinations* of these sentences, never single ones, so every word and every
sentence is seen in training. The vocabulary is kept small for models of about a million weights.

Placeholders: {S} / {s} the person (name first, pronoun later; upper / lower case), {name},
{his}, {item}, {box}; {a}, {b}, {x} numbers; {ref} an earlier person; {first}, {second} items.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NAMES = {
    "Tom": ("he", "his"),
    "Ben": ("he", "his"),
    "Sam": ("he", "his"),
    "Max": ("he", "his"),
    "Leo": ("he", "his"),
    "Dan": ("he", "his"),
    "Anna": ("she", "her"),
    "Mia": ("she", "her"),
    "Eva": ("she", "her"),
    "Lily": ("she", "her"),
    "Kate": ("she", "her"),
    "Zoe": ("she", "her"),
}

# Stated in units that no question asks for, so that none of them can belong to a solution.
DISTRACTORS = (
    "{His} bag is {x} years old.",
    "{name} is {x} years old.",
    "{His} house has {x} windows.",
    "It rained for {x} minutes.",
    "{name} woke up {x} minutes early.",
    "{His} dog is {x} years old.",
    "{His} class has {x} chairs.",
)


@dataclass(frozen=True)
class Kind:
    """One thing that a sentence says, with its wordings and the line that computes it.

    ``op`` is the operator; ``value`` states a number and computes nothing; ``from`` takes the
    quantity so far away from a stated number.
    """

    name: str
    op: str
    label: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A kind of story: how its parts start, how a part and the whole change, what is asked."""

    name: str
    items: tuple[str, ...]
    product: Kind
    plain: Kind
    block: tuple[Kind, ...]
    total: tuple[Kind, ...]
    last: tuple[Kind, ...]
    compare: Kind
    questions: dict[str, tuple[str, ...]]
    boxes: tuple[str, ...] = field(default=("boxes", "bags", "baskets", "trays"))


MONEY = Family(
    name="money",
    items=("pens", "books", "cups", "hats", "toys", "cakes", "balls", "lamps", "maps", "shirts"),
    product=Kind(
        "product",
        "*",
        "{item} cost",
        (
            "{S} buys {a} {item} for {b} dollars each.",
            "{S} buys {a} {item} that cost {b} dollars each.",
            "{S} needs {a} {item} and each costs {b} dollars.",
            "{S} takes {a} {item}, each for {b} dollars.",
        ),
    ),
    plain=Kind(
        "plain",
        "value",
        "",
        (
            "{S} buys some {item} for {a} dollars.",
            "{S} pays {a} dollars for some {item}.",
            "{S} takes some {item} that cost {a} dollars in all.",
        ),
    ),
    block=(
        Kind(
            "part_less",
            "-",
            "{item} less",
            (
                "{S} gets {x} dollars off the {item}.",
                "The {item} are {x} dollars cheaper today.",
                "A coupon takes {x} dollars off the {item}.",
            ),
        ),
        Kind(
            "part_more",
            "+",
            "{item} more",
            (
                "A box for the {item} costs {x} dollars more.",
                "{S} pays {x} dollars more to bring the {item} home.",
                "The {item} are {x} dollars more today.",
            ),
        ),
        Kind(
            "part_times",
            "*",
            "{item} times",
            ("{S} buys the same {item} on {x} days.", "{S} pays for the {item} {x} times."),
        ),
        Kind(
            "part_share",
            "/",
            "{item} part",
            (
                "{S} pays one of {x} equal parts for the {item}.",
                "The cost of the {item} is split in {x} equal parts and {s} pays one.",
            ),
        ),
    ),
    total=(
        Kind(
            "less",
            "-",
            "bill less",
            (
                "Then the shop takes {x} dollars off the bill.",
                "Then a coupon takes {x} dollars off the bill.",
                "Then the bill gets {x} dollars less.",
            ),
        ),
        Kind(
            "more",
            "+",
            "bill more",
            (
                "Then the shop adds {x} dollars to the bill.",
                "Then {s} adds {x} dollars to the bill.",
                "Then the bill gets {x} dollars more.",
            ),
        ),
        Kind(
            "times",
            "*",
            "all bills",
            ("Then {s} pays this bill on {x} days.", "Then the same bill comes on {x} days."),
        ),
    ),
    last=(
        Kind(
            "share",
            "/",
            "each pays",
            (
                "Then {x} friends split the bill.",
                "Then the bill is shared by {x} friends.",
                "Then the bill is split in {x} equal parts.",
            ),
        ),
        Kind(
            "from",
            "from",
            "change",
            (
                "Then {s} pays with {x} dollars.",
                "Then {s} gives the shop {x} dollars.",
                "{S} had {x} dollars before.",
            ),
        ),
    ),
    compare=Kind(
        "compare",
        "-",
        "difference",
        (
            "How many dollars more do the {first} cost than the {second}?",
            "How many dollars less do the {second} cost than the {first}?",
        ),
    ),
    questions={
        "": (
            "How many dollars does {name} pay?",
            "How many dollars does {s} pay in all?",
            "How many dollars is the bill in all?",
            "What does {name} pay in all?",
        ),
        "share": ("How many dollars does each pay?", "What does each of them pay?"),
        "from": ("How many dollars does {s} get back?", "How many dollars are left?"),
    },
)

GROUPS = Family(
    name="groups",
    items=("apples", "plums", "eggs", "pears", "nuts", "cards", "shells", "stones", "stamps"),
    product=Kind(
        "product",
        "*",
        "{item} in {box}",
        (
            "{S} has {a} {box} with {b} {item} each.",
            "{S} fills {a} {box} with {b} {item} each.",
            "{S} has {a} {box} and each holds {b} {item}.",
            "{S} takes {a} {box} of {b} {item} each.",
        ),
    ),
    plain=Kind(
        "plain",
        "value",
        "",
        (
            "{S} finds {a} {item}.",
            "{S} has {a} {item} at home.",
            "{S} gets {a} {item} from a friend.",
        ),
    ),
    block=(
        Kind(
            "part_less",
            "-",
            "{item} less",
            (
                "{S} loses {x} of the {item}.",
                "{S} gives away {x} of the {item}.",
                "Then {x} of the {item} are bad.",
            ),
        ),
        Kind(
            "part_more",
            "+",
            "{item} more",
            (
                "{S} finds {x} more {item}.",
                "A friend brings {x} more {item}.",
                "{S} gets {x} more {item}.",
            ),
        ),
        Kind(
            "part_times",
            "*",
            "{item} times",
            (
                "Then the {item} become {x} times as many.",
                "{S} makes the {item} {x} times as many.",
            ),
        ),
        Kind(
            "part_share",
            "/",
            "{item} part",
            (
                "{S} keeps one of {x} equal parts of the {item}.",
                "The {item} are split in {x} equal parts and {s} keeps one.",
            ),
        ),
    ),
    total=(
        Kind(
            "less",
            "-",
            "all less",
            (
                "Then {s} sells {x} of all these things.",
                "Then {s} gives away {x} of all these things.",
                "Then {s} loses {x} of all these things.",
            ),
        ),
        Kind(
            "more",
            "+",
            "all more",
            (
                "Then {s} adds {x} more to all these things.",
                "Then a friend adds {x} more to all these things.",
            ),
        ),
        Kind(
            "times",
            "*",
            "all times",
            (
                "Then all these things become {x} times as many.",
                "Then {s} makes all these things {x} times as many.",
            ),
        ),
    ),
    last=(
        Kind(
            "share",
            "/",
            "each gets",
            (
                "Then {x} friends split all these things.",
                "Then all these things are shared by {x} friends.",
            ),
        ),
        Kind(
            "bags",
            "/",
            "bags",
            (
                "Then {s} puts all these things in bags of {x}.",
                "Then each bag gets {x} of all these things.",
            ),
        ),
        Kind(
            "from",
            "from",
            "missing",
            ("{S} needs {x} things in all.", "{S} wants to have {x} things in all."),
        ),
    ),
    compare=Kind(
        "compare",
        "-",
        "difference",
        (
            "How many more {first} than {second} does {name} have?",
            "How many fewer {second} than {first} does {name} have?",
        ),
    ),
    questions={
        "": (
            "How many things does {name} have?",
            "How many things does {s} have in all?",
            "How many things are there in all?",
        ),
        "share": ("How many things does each get?", "What does each of them get?"),
        "bags": ("How many bags are there?", "How many bags does {s} need?"),
        "from": ("How many things are missing?", "How many more things does {s} need?"),
    },
)
