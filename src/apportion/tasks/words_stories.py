"""More stories: journeys, and shares (where people have more or less than one another)."""

from __future__ import annotations

from apportion.tasks.words_templates import GROUPS, MONEY, Family, Kind

JOURNEYS = Family(
    name="journeys",
    items=("car", "bus", "train", "bike", "boat", "taxi"),
    product=Kind(
        "product",
        "*",
        "by {item}",
        (
            "{S} goes by {item} for {a} hours at {b} km an hour.",
            "{S} spends {a} hours going {b} km an hour by {item}.",
            "For {a} hours {s} goes {b} km an hour by {item}.",
        ),
    ),
    plain=Kind(
        "plain",
        "value",
        "",
        ("{S} goes {a} km by {item}.", "By {item} {s} goes {a} km.", "{S} makes {a} km by {item}."),
    ),
    block=(
        Kind(
            "part_less",
            "-",
            "{item} less",
            (
                "The way by {item} gets {x} km less.",
                "A new road takes {x} km off the way by {item}.",
            ),
        ),
        Kind(
            "part_more",
            "+",
            "{item} more",
            (
                "The way by {item} gets {x} km more.",
                "A closed road adds {x} km to the way by {item}.",
            ),
        ),
        Kind(
            "part_times",
            "*",
            "{item} times",
            (
                "{S} goes the way by {item} {x} times.",
                "The way by {item} becomes {x} times as long.",
            ),
        ),
        Kind(
            "part_share",
            "/",
            "{item} part",
            (
                "{S} goes one of {x} equal parts of the way by {item}.",
                "The way by {item} is split in {x} equal parts and {s} goes one.",
            ),
        ),
    ),
    total=(
        Kind(
            "less",
            "-",
            "way less",
            (
                "Then a new road takes {x} km off the whole way.",
                "Then the whole way gets {x} km less.",
            ),
        ),
        Kind(
            "more",
            "+",
            "way more",
            (
                "Then a closed road adds {x} km to the whole way.",
                "Then the whole way gets {x} km more.",
            ),
        ),
        Kind(
            "times",
            "*",
            "way times",
            ("Then {s} goes the whole way {x} times.", "Then {s} goes the whole way on {x} days."),
        ),
    ),
    last=(
        Kind(
            "share",
            "/",
            "each day",
            (
                "The whole way is split in {x} equal days.",
                "The whole way is shared by {x} equal days.",
            ),
        ),
        Kind(
            "stops",
            "/",
            "stops",
            (
                "There is one stop for each {x} km of the whole way.",
                "Then {s} stops each {x} km of the whole way.",
            ),
        ),
        Kind(
            "from",
            "from",
            "km left",
            ("The town is {x} km away.", "{S} wants to go {x} km in all."),
        ),
    ),
    compare=Kind(
        "compare",
        "-",
        "difference",
        (
            "How many km more does {name} go by {first} than by {second}?",
            "How many km less does {name} go by {second} than by {first}?",
        ),
    ),
    questions={
        "": (
            "How many km does {name} go?",
            "How many km does {s} go in all?",
            "How many km long is the whole way?",
        ),
        "share": ("How many km does {s} go each day?", "How many km are there for each day?"),
        "stops": ("How many stops are there?", "How many stops does {s} make?"),
        "from": ("How many km are left?", "How many more km does {s} need to go?"),
    },
)

# Here the parts are people: {name} is the owner of the part, {ref} an earlier one.
SHARES = Family(
    name="shares",
    items=("coins", "cards", "stamps", "balls", "shells", "books"),
    product=Kind(
        "product",
        "*",
        "{name} has",
        (
            "{name} has {a} {box} with {b} {item} each.",
            "{name} has {a} {box} and each holds {b} {item}.",
            "{name} fills {a} {box} with {b} {item} each.",
        ),
    ),
    plain=Kind(
        "plain",
        "value",
        "",
        ("{name} has {a} {item}.", "{name} has {a} {item} at home.", "{name} finds {a} {item}."),
    ),
    block=(
        Kind(
            "part_less",
            "-",
            "{name} has",
            (
                "{name} has {x} fewer {item} than {ref}.",
                "{name} needs {x} more {item} to have as many as {ref}.",
            ),
        ),
        Kind(
            "part_more",
            "+",
            "{name} has",
            (
                "{name} has {x} more {item} than {ref}.",
                "{name} has as many {item} as {ref} and {x} more.",
            ),
        ),
        Kind(
            "part_times",
            "*",
            "{name} has",
            (
                "{name} has {x} times as many {item} as {ref}.",
                "{name} gets {x} times as many {item} as {ref} has.",
            ),
        ),
        Kind(
            "part_share",
            "/",
            "{name} has",
            (
                "{name} has one of {x} equal parts of what {ref} has.",
                "Split what {ref} has in {x} equal parts and {name} has as many as one.",
            ),
        ),
    ),
    total=(
        Kind(
            "less",
            "-",
            "all less",
            ("Then they give away {x} {item}.", "Then they lose {x} {item} of all they have."),
        ),
        Kind(
            "more",
            "+",
            "all more",
            ("Then they find {x} more {item}.", "Then a friend gives them {x} more {item}."),
        ),
        Kind("times", "*", "all times", ("Then all the {item} become {x} times as many.",)),
    ),
    last=(
        Kind(
            "share",
            "/",
            "each gets",
            (
                "Then {x} friends split all the {item}.",
                "Then all the {item} are shared by {x} friends.",
            ),
        ),
        Kind(
            "bags",
            "/",
            "bags",
            (
                "Then they put all the {item} in bags of {x}.",
                "Then each bag gets {x} of all the {item}.",
            ),
        ),
        Kind(
            "from",
            "from",
            "missing",
            ("They need {x} {item} in all.", "They want to have {x} {item} in all."),
        ),
    ),
    compare=Kind(
        "compare",
        "-",
        "difference",
        (
            "How many more {item} does {first} have than {second}?",
            "How many fewer {item} does {second} have than {first}?",
        ),
    ),
    questions={
        "": (
            "How many {item} do {people} have in all?",
            "How many {item} are there in all for {people}?",
        ),
        "one": ("How many {item} does {people} have?", "What does {people} have, in {item}?"),
        "all": ("How many {item} do they have in all?", "How many {item} are there in all?"),
        "share": ("How many {item} does each get?", "What does each of them get?"),
        "bags": ("How many bags are there?", "How many bags do they need?"),
        "from": ("How many {item} are missing?", "How many more {item} do they need?"),
    },
)

FAMILIES: dict[str, Family] = {family.name: family for family in (MONEY, GROUPS, JOURNEYS, SHARES)}
