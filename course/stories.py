"""The stories of the course, as a grammar: twelve plots, what they draw, how they read.

In every plot something is put somewhere early and found there late, somebody is called
by a pronoun, things are counted and taken away, and people say what they know. A model
that looks one character back cannot know any of it.
"""

from __future__ import annotations

from itertools import permutations, product

from course.grammar import Fact, Grammar, Plot

SHE = ("she", "her", "her")
HE = ("he", "him", "his")
# How often a name is met: a few are common, many are rare.
NAMES = {
    "Mina": (SHE, 5), "Tom": (HE, 5), "Ada": (SHE, 4), "Omar": (HE, 4),
    "Hana": (SHE, 4), "Jun": (HE, 4), "Rosa": (SHE, 3), "Felix": (HE, 3),
    "Nora": (SHE, 3), "Kofi": (HE, 3), "Ivy": (SHE, 2), "Milo": (HE, 2),
    "Tilda": (SHE, 2), "Pavel": (HE, 2), "Suji": (SHE, 2), "Hugo": (HE, 2),
    "Lena": (SHE, 1), "Emil": (HE, 1), "Zoe": (SHE, 1), "Bo": (HE, 1),
}  # fmt: skip
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve",
)  # fmt: skip
PLACES = (
    "under the bed", "behind the stove", "in the bread bin", "in the left boot",
    "on the top shelf", "beneath the stairs", "in the garden shed", "behind the clock",
    "in the hollow tree", "under the doormat", "inside the piano", "in the teapot",
    "between two flowerpots", "behind the curtain", "below the rowing boat",
    "in the wood pile", "down in the cellar", "under the third step",
    "in the laundry basket", "above the kitchen door",
)  # fmt: skip

NEWS = {
    "the soup is ready": "grabbed the biggest spoon in the house",
    "the goose has escaped": "fetched a net and a sandwich",
    "the bridge is closed": "took the ferry instead",
    "the plums are ripe": "ran for the tallest ladder",
    "the roof is leaking": "brought three buckets",
    "the circus is in town": "put on a clean hat",
    "the band needs a drummer": "picked up two wooden spoons",
    "the bread is burning": "raced to the oven",
    "the library opens at noon": "packed a bag full of books",
    "the ice is too thin": "hung up the skates again",
}


def _cast() -> Fact:
    """The hero and the friend: one is a she and one a he, so no pronoun is in doubt."""
    values, weights = [], []
    for hero, friend in permutations(NAMES, 2):
        (they, them, their), weight = NAMES[hero]
        (other, _, other_their), other_weight = NAMES[friend]
        if they == other:
            continue
        values.append(
            {
                "hero": hero,
                "they": they,
                "They": they.capitalize(),
                "them": them,
                "their": their,
                "Their": their.capitalize(),
                "friend": friend,
                "other": other,
                "Other": other.capitalize(),
                "other_their": other_their,
            }
        )
        weights.append(weight * other_weight)
    return Fact("cast", tuple(values), tuple(weights))


def _places() -> Fact:
    """Where it is, and where it is looked for in vain."""
    # The first places are met more often.
    weight = {place: len(PLACES) + 8 - i for i, place in enumerate(PLACES)}
    pairs = tuple(permutations(PLACES, 2))
    return Fact(
        "places",
        tuple(
            {"hidden": a, "Hidden": _capital(a), "wrong": b, "Wrong": _capital(b)}
            for a, b in pairs
        ),
        tuple(weight[a] * weight[b] for a, b in pairs),
    )


def _spots() -> Fact:
    """One place alone."""
    return Fact("spot", tuple({"at": place} for place in PLACES))


def _skies() -> Fact:
    """The weather of the day: as an adjective, going on, and over."""
    return Fact(
        "sky",
        tuple(
            {"word": word, "now": now, "late": late}
            for word, now, late in (
                ("rainy", "the rain drummed on the roof", "the rain had stopped"),
                ("windy", "the wind chased a hat", "the wind was tired"),
                ("sunny", "the sun warmed the windowsill", "the sun had gone down"),
                ("foggy", "the fog swallowed the chimneys", "the fog had gone home"),
                ("snowy", "the snow settled on the fence", "the snow had melted"),
                ("stormy", "the thunder argued with itself", "the storm was over"),
                ("frosty", "the frost drew ferns", "the frost was only a memory"),
                ("cloudy", "the clouds had no plan", "the clouds had moved on"),
            )
        ),
        (6, 5, 5, 3, 3, 2, 2, 2),
    )


def _news() -> Fact:
    """A message, what it makes one do, and another one to mix it up with."""
    return Fact(
        "news",
        tuple(
            {"that": a, "That": _capital(a), "mixed": _capital(b), "did": NEWS[a]}
            for a, b in permutations(NEWS, 2)
        ),
    )


def _boxes() -> Fact:
    """Three boxes of different colours."""
    colours = ("red", "blue", "green", "yellow", "white", "black")
    triples = permutations(colours, 3)
    return Fact("box", tuple({"a": a, "b": b, "c": c} for a, b, c in triples))


def _gifts() -> Fact:
    """What is in the three boxes, with its article."""
    words = "teacup compass feather candle walnut thimble harmonica ladle umbrella egg"
    triples = permutations(map(_article, words.split()), 3)
    return Fact(
        "gift",
        tuple(
            {"a": a, "b": b, "c": c}
            | {"A": _capital(a), "B": _capital(b), "C": _capital(c)}
            for a, b, c in triples
        ),
    )


def _swaps() -> Fact:
    """What a thing is traded for, with its look."""
    return Fact(
        "swap",
        tuple(
            {"name": noun, "a": _article(f"{word} {noun}")}
            for word, noun in product(
                ("brown", "white", "orange", "heavy", "noisy"),
                ("drum", "basket", "umbrella", "pillow", "clock", "trumpet"),
            )
        ),
    )


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _sums() -> Fact:
    """So many at first, so many gone, so many left; at least two are left."""
    triples = [(n, gone) for n in range(4, 13) for gone in range(1, n - 1)]
    return Fact(
        "sum",
        tuple(
            {"all": NUMBERS[n], "gone": NUMBERS[gone], "left": NUMBERS[n - gone]}
            for n, gone in triples
        ),
    )


def _words(name: str, form: str, words: str) -> Fact:
    return Fact(name, tuple({form: word} for word in words.split()))


def _looks() -> Fact:
    words = "red blue green silver yellow tiny round old crooked striped enormous ugly"
    return Fact(
        "look",
        tuple({"word": word, "a": _article(word)} for word in words.split()),
        (6, 5, 5, 4, 4, 3, 3, 3, 2, 2, 1, 1),
    )


def _elders() -> Fact:
    women = ("grandmother", "aunt", "sister")
    men = ("grandfather", "uncle", "brother")
    return Fact(
        "elder",
        tuple(
            {"name": name, "they": they, "They": they.capitalize(), "their": their}
            for names, they, their in ((women, "she", "her"), (men, "he", "his"))
            for name in names
        ),
        (4, 2, 1, 3, 2, 1),
    )


def _delays() -> Fact:
    """What keeps a runner."""
    return Fact(
        "delay",
        tuple(
            {"past": past}
            for past in (
                "stopped to chat with a snail",
                "fell asleep under a hedge",
                "took a wrong turn",
                "went back for a sandwich",
                "paused to count the clouds",
                "got caught in a washing line",
            )
        ),
        (5, 4, 3, 3, 2, 1),
    )


FACTS = {
    fact.name: fact
    for fact in (
        _cast(),
        _places(),
        _sums(),
        _looks(),
        _skies(),
        _spots(),
        _news(),
        _boxes(),
        _gifts(),
        _swaps(),
        _words("goal", "name", "well windmill bridge oak lighthouse fountain"),
        _delays(),
        _elders(),
        _words(
            "thing",
            "name",
            "key ring coin whistle shell button watch compass marble bell feather lantern "
            "kite drum spoon mirror ribbon hat book map candle flute scarf needle comb "
            "thimble puppet medal",
        ),
        _words(
            "goods",
            "many",
            "buns pancakes biscuits tarts dumplings muffins pies waffles pretzels scones "
            "rolls cupcakes",
        ),
        _words(
            "beast",
            "name",
            "magpie goat cat puppy goose squirrel donkey fox raven pony",
        ),
    )
}

RULES = {
    "when": "[3:One|2:On a|Late one|Early one] {sky.word} "
    "[3:morning|2:evening|afternoon]",
    "later": "[3:Soon|2:A little later|Before long|After a while|Not much later]",
    "weather": "[4:Outside, {sky.now}. |"
    "2:Somewhere a [2:dog|rooster|radio|trumpet] [would not be quiet|was telling the "
    "whole street about it|had the hiccups|practised the same [two|three] notes]. |"
    "2:It was the kind of day on which [nothing happens|hats go missing|milk turns sour|"
    "cats know more than people|even the clocks are late]. |"
    "The neighbours [argued about a [ladder|fence|goose]|were asleep|hung out the "
    "washing|had visitors again]. |4:]",
    "vain": "[4:but there was nothing but [2:dust|an old newspaper|one lonely sock|"
    "a dry leaf|somebody's left glove]|"
    "2:where a [2:spider|mouse|moth|beetle] [2:looked back|seemed very surprised|yawned|"
    "was having breakfast]|"
    "2:and found [half a sandwich|a letter from last year|three dead flies|"
    "the lost chess king|a ticket to the moon]]",
    "search": "[4:looked|3:searched|2:felt about|had a look]",
    "hid": "[4:hid|3:put|2:placed|left]",
    # What a box holds is known from the beginning of the story only.
    "open_a": '"And the {box.a} one?" asked {cast.friend}. "{gift.A}," said {cast.hero}.',
    "open_b": '"What is in the {box.b} one?" "{gift.B}."',
    "open_c": "Then {cast.friend} opened the {box.c} box, and there was {gift.c}.",
    "joy": "[3:What a [2:day|surprise|relief|moment]!|"
    "2:Nobody [could stop laughing|said a word for a whole minute|had expected that].|"
    "2:{cast.friend} [2:danced|sang|jumped|clapped] [2:round the kitchen|in the doorway|"
    "like a goat|until a cup fell down].|"
    "Even the [clock|kettle|floor|old stove] seemed [pleased|to smile|to hum].]",
    "end": "[3:And that was that.|3:By then {sky.late}.|2:They talked about it [2:for years|until it was dark|"
    "all winter|at every birthday].|2:From then on they were [2:closer than ever|the best of "
    "friends|seldom apart].|Nobody ever [asked why|heard the whole story|wrote it down].|"
    "2:{cast.hero} slept [2:well|like a stone|with a smile|until noon] [that night|after "
    "so much excitement].|2:The next day it all began [again|once more, but backwards].]",
}

PLOTS = (
    Plot(
        5,
        ("cast", "sky", "look", "thing", "places", "sum", "goods"),
        "<when> {cast.hero} [3:bought|2:found|made|painted] {look.a} {thing.name} "
        "for {cast.friend}. {cast.They} <hid> it {places.hidden}, [3:because it had to "
        "stay a secret|2:so that nobody would see it|and told [nobody|only the cat|"
        "the wallpaper]]. <weather><later> {cast.friend} [2:knocked at the door|"
        "came to tea|climbed over the fence|rang the bell twice] with {sum.all} "
        "{goods.many}, and together they ate {sum.gone}. "
        '"[2:Where is my present|Is there something for me|What are you hiding]?" '
        "asked {cast.friend}. {cast.hero} [2:smiled|laughed|only whistled|looked at the "
        "ceiling]. So {cast.friend} <search> {places.wrong}, <vain>. "
        '"[3:Cold|2:No|Very cold]," said {cast.hero}. "[2:Look|Try|Go and look] '
        '{places.hidden}." And there it was, the {look.word} {thing.name}. <joy> '
        "Then they [3:ate|shared|finished] the other {sum.left} {goods.many}. <end>",
        (
            ("Where was the {thing.name} hidden?", "{places.hidden}"),
            ("Where did {cast.friend} look in vain?", "{places.wrong}"),
            ("Who hid the {thing.name}?", "{cast.hero}"),
            ("How many {goods.many} were left at the end?", "{sum.left}"),
            ("What did the {thing.name} look like?", "{look.word}"),
        ),
    ),
    Plot(
        4,
        ("cast", "sky", "look", "thing", "places", "beast", "sum", "goods"),
        "{cast.hero} had {look.a} {thing.name}, and {cast.they} [3:loved it|2:took it "
        "everywhere|polished it every [morning|evening|Sunday]|never lent it to anybody]. "
        "<when> a [2:cheeky|clever|greedy|lonely] {beast.name} [3:stole it|2:ran away with "
        "it|borrowed it without asking] and <hid> it {places.hidden}. Only {cast.friend} "
        "[saw it happen|was awake|had been watching]. <weather>{cast.hero} <search> "
        '{places.wrong}, <vain>. "[2:Where is my {thing.name}|Who has my {thing.name}]?" '
        "[3:cried|2:shouted|sobbed] {cast.hero}. "
        '"The {beast.name} took it," said {cast.friend}. "[3:It is|2:You will find it|'
        'I think it is] {places.hidden}." {cast.They} [ran|hurried|tiptoed] there and '
        "came back with the {look.word} {thing.name}. <joy> To say thank you, {cast.hero} "
        "[2:baked|made] {sum.all} {goods.many}. {cast.friend} ate {sum.gone} of them "
        "[2:at once|standing up|without a word], and the {beast.name} got the other "
        "{sum.left}. <end>",
        (
            ("Where was the {thing.name} hidden?", "{places.hidden}"),
            ("Who took the {thing.name}?", "the {beast.name}"),
            ("Whose {thing.name} was it?", "{cast.hero}"),
            ("Where did {cast.hero} look in vain?", "{places.wrong}"),
            ("How many {goods.many} did the {beast.name} get?", "{sum.left}"),
        ),
    ),
    Plot(
        3,
        ("cast", "sky", "look", "thing", "places", "sum", "goods"),
        "Before {cast.friend} [3:went to sea|2:moved to the city|left for the mountains], "
        "{cast.other} gave {cast.hero} {look.a} {thing.name}. "
        '"[3:Keep it safe|2:Guard it well|Do not lose it]," said {cast.friend}, '
        "and {cast.hero} <hid> it {places.hidden}. [3:A year|2:Two years|A long winter] "
        "went by. <weather><when> {cast.friend} came back with {sum.all} {goods.many} "
        "in a [2:bag|basket|paper box]. {cast.Other} had forgotten [2:everything|the "
        "promise|half the street names]. "
        '"What did I leave with you?" asked {cast.friend}. "Your {look.word} '
        '{thing.name}," said {cast.hero}. "[3:It is|2:It never left its place,|I '
        'dust it every week,] {places.hidden}." {cast.friend} did not listen and <search> '
        "{places.wrong}, <vain>. Then {cast.other} went to the right place, and there it "
        "was. <joy> {cast.hero} [2:was given|got] {sum.gone} of the {goods.many} for "
        "{cast.their} trouble, and {cast.friend} kept {sum.left}. <end>",
        (
            ("What did {cast.friend} leave with {cast.hero}?",
             "{look.a} {thing.name}"),
            ("Where did {cast.hero} keep the {thing.name}?", "{places.hidden}"),
            ("Who came back?", "{cast.friend}"),
            ("How many {goods.many} did {cast.friend} keep?", "{sum.left}"),
        ),
    ),
    Plot(
        3,
        ("cast", "sky", "look", "thing", "places", "elder", "sum", "goods"),
        "On a {sky.word} [2:market day|morning] {cast.hero} [3:carried|2:took|wheeled] "
        "{sum.all} {goods.many} to town. [2:Nobody wanted any|Business was slow|It was very quiet there], until "
        "{cast.friend} took {sum.gone} of them and paid with {look.a} {thing.name}, "
        "[2:having no money|as people did in the old days|bowing deeply]. <weather>"
        "{cast.hero} went home with {sum.left} {goods.many} and <hid> the {thing.name} "
        '{places.hidden}. "What did you sell?" asked {cast.their} {elder.name}. '
        '"I sold {sum.gone} of the {goods.many} to {cast.friend}," said {cast.hero}, '
        '"and what I got for them is {places.hidden}." {cast.Their} {elder.name}, who '
        "[2:was a little deaf|never listened|had lost those glasses again], <search> "
        '{places.wrong}, <vain>. "No, {places.hidden}!" [2:called|shouted] {cast.hero}. '
        "The {elder.name} [came back with|held up|brought] the {look.word} {thing.name} and "
        "[3:smiled|2:shrugged|laughed until the windows shook]. "
        "They ate the {sum.left} {goods.many} [2:for supper|in the garden|by candlelight]. "
        "<end>",
        (
            ("What did {cast.friend} pay with?", "{look.a} {thing.name}"),
            ("Where was the {thing.name}?", "{places.hidden}"),
            ("How many {goods.many} did {cast.hero} sell?", "{sum.gone}"),
            ("How many {goods.many} did {cast.hero} bring home?", "{sum.left}"),
            ("Who asked what was sold?", "{cast.their} {elder.name}"),
        ),
    ),
    Plot(
        2,
        ("cast", "sky", "look", "thing", "places", "beast", "sum", "goods"),
        "One {sky.word} day {cast.hero} [2:was ill|had a cold|had hurt {cast.their} foot] and wanted "
        '{cast.their} {look.word} {thing.name}. "[2:Please fetch it|Can you bring it to '
        'me]," {cast.they} said to {cast.friend}. "It is {places.hidden}, not '
        '{places.wrong}." {cast.friend} set out with {sum.all} {goods.many} in '
        "{cast.other_their} pockets. <weather>On the bridge stood a [2:hungry|polite|fat|"
        "talking] {beast.name}, and {cast.other} had to give it {sum.gone} of the "
        "{goods.many}. <later> {cast.friend} [2:could not remember|wondered]: was it "
        '{places.wrong}? "[3:No|2:Think again|Nonsense]," said the {beast.name}. "It is '
        '{places.hidden}, as {cast.hero} said." It was right. {cast.hero} [2:hugged|kissed|'
        "shook] the {thing.name}, and then {cast.friend}. "
        "<joy> The {sum.left} {goods.many} that were left tasted [2:wonderful|of pocket|"
        "better than medicine]. <end>",
        (
            ("Where was the {thing.name}?", "{places.hidden}"),
            ("Who wanted the {thing.name}?", "{cast.hero}"),
            ("Who set out to fetch the {thing.name}?", "{cast.friend}"),
            ("Who stood on the bridge?", "a {beast.name}"),
            ("How many {goods.many} were left?", "{sum.left}"),
        ),
    ),
    Plot(
        2,
        ("cast", "sky", "look", "thing", "places", "elder", "sum", "goods"),
        "On the {sky.word} day of the [2:village|school|dumpling] feast, {cast.hero}'s {elder.name} <hid> "
        "{look.a} {thing.name} {places.hidden} and promised {sum.all} {goods.many} to "
        "whoever found it first. {cast.friend} ran and <search> {places.wrong}, <vain>. "
        "<weather>{cast.hero} [2:thought for a while|sat down and ate a pear|listened to "
        "the floor]. <later> {cast.they} [2:walked|strolled|hopped] to the right place and "
        "there was the {look.word} {thing.name}. "
        '"[2:How did you know|Who told you]?" asked {cast.friend}. "There was [2:flour|mud|'
        'jam] {places.hidden}," said {cast.hero}, "and my {elder.name} always has [2:some|it] '
        'on {elder.their} sleeves." <joy> {cast.hero} won the {sum.all} {goods.many}, gave '
        "{sum.gone} of them to {cast.friend} and kept {sum.left}. <end>",
        (
            ("Who hid the {thing.name}?", "{cast.hero}'s {elder.name}"),
            ("Where was the {thing.name} hidden?", "{places.hidden}"),
            ("Who found the {thing.name}?", "{cast.hero}"),
            ("How many {goods.many} did {cast.hero} keep?", "{sum.left}"),
        ),
    ),
    Plot(
        4,
        ("cast", "sky", "look", "thing", "places"),
        "{cast.hero} kept {cast.their} {look.word} {thing.name} {places.hidden}. <when> "
        "{cast.they} went [3:to the market|2:out to buy milk|for a swim|to see the "
        "dentist]. Meanwhile {cast.friend} [3:tidied up|2:played detective|needed the "
        "space] and moved the {thing.name}. Now it was {places.wrong}. <weather>When "
        "{cast.hero} came back, {cast.they} <search> {places.hidden}, [3:of course|2:where "
        "else|as always]. [3:Nothing|2:Not a trace|Only dust]! "
        '"[3:Where is my {thing.name}|2:Has anybody seen my {thing.name}|Thieves! Where '
        'is it]?" {cast.they} [2:asked|cried]. "{places.Wrong}," said {cast.friend}. '
        '"[2:I moved it|I only wanted to help|It looked happier there]." '
        "[3:And there was the {look.word} {thing.name}|2:{cast.hero} put it back at once|"
        "{cast.hero} sighed and left it there]. <end>",
        (
            ("Where did {cast.hero} keep the {thing.name}?", "{places.hidden}"),
            ("Where did {cast.friend} move the {thing.name}?", "{places.wrong}"),
            ("Where did {cast.hero} look first?", "{places.hidden}"),
            ("Who moved the {thing.name}?", "{cast.friend}"),
        ),
    ),
    Plot(
        4,
        ("cast", "sky", "elder", "news"),
        '"[3:Please tell|2:Run and tell] {cast.friend} that {news.that}," said '
        "{cast.hero}'s {elder.name} one {sky.word} [3:morning|2:evening|day]. {cast.hero} "
        "[3:ran|2:hurried|skipped] off and practised all the way. "
        '"{news.mixed}," {cast.they} [3:mumbled|2:sang|told a fence]. "No, that is '
        '[2:wrong|something else|yesterday\'s news]." <weather>{cast.friend} [3:opened the '
        'door|2:looked out of the window|was in the garden]. "[2:What is it|Well]?" '
        'asked {cast.friend}. [3:{cast.hero} took a deep breath|2:{cast.hero} closed both '
        'eyes|Everybody waited]. "{news.That}!" [2:"Oh," said|"Goodness," cried] '
        "{cast.friend}, and {news.did}. [3:At home|2:That night], {cast.hero}'s "
        '{elder.name} asked what {cast.friend} had done. "{cast.Other} {news.did}," said '
        "{cast.hero}. <end>",
        (
            ("What was the message for {cast.friend}?", "{news.that}"),
            ("Who sent the message?", "{cast.hero}'s {elder.name}"),
            ("Who carried the message?", "{cast.hero}"),
            ("What did {cast.friend} do?", "{news.did}"),
        ),
    ),
    Plot(
        4,
        ("cast", "sky", "box", "gift"),
        "It was {cast.friend}'s birthday, [3:a {sky.word} one|2:on a {sky.word} day in "
        "May|and a {sky.word} day]. {cast.hero} [3:brought|2:had wrapped|carried in] three "
        "boxes. In the {box.a} box was {gift.a}, in the {box.b} box was {gift.b}, and in "
        "the {box.c} box was {gift.c}. <weather>{cast.friend} [3:shook them all|2:sniffed "
        "at each of them|walked around them twice] and "
        "[5:opened the {box.b} one first. Out came {gift.b}. <open_a> <open_c>"
        "|3:took the {box.c} one first. Out came {gift.c}. <open_a> <open_b>"
        "|2:chose the {box.a} one first. Out came {gift.a}. <open_c> <open_b>] "
        "<joy> <end>",
        (
            ("What was in the {box.a} box?", "{gift.a}"),
            ("What was in the {box.b} box?", "{gift.b}"),
            ("What was in the {box.c} box?", "{gift.c}"),
            ("Whose birthday was it?", "{cast.friend}"),
            ("Who gave the boxes?", "{cast.hero}"),
        ),
    ),
    Plot(
        3,
        ("cast", "sky", "goal", "delay", "beast", "look", "thing"),
        "{cast.hero} and {cast.friend} ran a race to the {goal.name} one {sky.word} "
        "[3:morning|2:evening|afternoon]. A {beast.name} was the judge, and the prize was "
        "{look.a} {thing.name}. <weather>{cast.friend} was [3:far ahead|2:faster|almost "
        "there], but then {cast.other} {delay.past}. So {cast.hero} came to the "
        '{goal.name} first. "Who won?" asked the {beast.name}, who had [2:been asleep|'
        'looked the other way]. "{cast.hero}," said {cast.friend}. "I {delay.past}." So '
        "the {beast.name} [3:gave|2:handed] the {look.word} {thing.name} to {cast.hero}. "
        "<joy> <end>",
        (
            ("Who won the race?", "{cast.hero}"),
            ("What did they race to?", "the {goal.name}"),
            ("Who was the judge?", "a {beast.name}"),
            ("What was the prize?", "{look.a} {thing.name}"),
            ("Who got the {thing.name}?", "{cast.hero}"),
        ),
    ),
    Plot(
        3,
        ("cast", "sky", "goal", "delay", "beast"),
        '"I am [3:faster than you|2:the fastest of all]," {cast.hero} told {cast.friend} '
        "one {sky.word} day. [2:So|And so] they raced to the {goal.name}. "
        "[3:After ten steps|2:Halfway there|Very soon] {cast.hero} {delay.past}. "
        "<weather>{cast.friend} [2:came by|walked past], quite slowly, and reached the "
        "{goal.name} [2:alone|in time for tea]. A {beast.name} saw it all. "
        '"[3:Where were you|2:What kept you]?" asked {cast.friend}. "I {delay.past}," said '
        '{cast.hero}. "It is true," said the {beast.name}, "but {cast.friend} was at the '
        '{goal.name} first." <joy> <end>',
        (
            ("Who won the race?", "{cast.friend}"),
            ("Who lost the race?", "{cast.hero}"),
            ("What did they race to?", "the {goal.name}"),
            ("Who saw the race?", "a {beast.name}"),
        ),
    ),
    Plot(
        3,
        ("cast", "sky", "look", "thing", "swap", "spot", "elder"),
        "Once {cast.hero} owned {look.a} {thing.name}, {cast.friend} owned {swap.a}, and "
        "each [3:wanted what the other had|2:thought the other was luckier]. <when> they "
        "[3:traded|2:made a trade and shook hands]. {cast.hero} <hid> the {swap.name} "
        "{spot.at}. <weather>[3:A week later|2:On Sunday] {cast.their} {elder.name} asked, "
        '"Where is your {thing.name}?" "{cast.friend} has it," said {cast.hero}. "And where '
        'is the {swap.name}?" "It is {spot.at}." The {elder.name} [3:shook with laughter|'
        "2:only sighed|wanted to see it]. Nobody [2:ever wanted to trade back|was sorry]. "
        "<end>",
        (
            ("Who has the {thing.name} now?", "{cast.friend}"),
            ("Who has the {swap.name} now?", "{cast.hero}"),
            ("Where is the {swap.name}?", "{spot.at}"),
            ("Who asked about the {thing.name}?", "{cast.their} {elder.name}"),
        ),
    ),
)  # fmt: skip

STORIES = Grammar(PLOTS, FACTS, RULES)
