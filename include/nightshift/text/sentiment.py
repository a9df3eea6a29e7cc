"""Is an English text pleased or displeased: words counted, turned round behind a negation.

A word list with negation is the plainest method there is (Hu & Liu, 2004). It knows when it knows
nothing: a text without any of its words has no sentiment here, in whatever language it is.
"""

from __future__ import annotations

import re


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLEASED = _set("""
    amazing awesome attractive beautiful beautifully best better bonus brilliant charming clever
    comfortable comfy convenient cosy cozy cute dainty delicious delight delighted delightful
    dependable durable easily easy effective efficient elegant enjoy enjoyable enjoyed enjoys
    excellent exceptional exceeded fab fabulous fantastic fast favorite favourite fine flawless
    flawlessly fresh friendly fun generous gentle glad good gorgeous great handy happier happy
    helpful helps ideal impressed impressive incredible liked lovely love loved loves lovingly
    lightweight moist neat nice nicely outstanding perfect perfectly pleasant pleased pleasure
    plush practical pretty quality quick quickly recommend recommended refreshing reliable right
    rich satisfied satisfying sleek smooth smoothly soft solid sparkly spot-on stunning sturdy
    stylish super superb sweet tasty terrific thrilled top useful value versatile vibrant
    warm well wonderful wonderfully works worth worthwhile wow yummy
""")
_DISPLEASED = _set("""
    annoyed annoying awful avoid awkward bad badly bent bitter bland blurry bother break breaks
    broke broken burnt cheap cheaply chipped clumsy complaint cracked crap crooked crumbled damaged
    dead defective difficult dirty disappoint disappointed disappointing disappointment disgusting
    dislike disliked dull expired fade faded fades fail failed failing fails failure fake falling
    fault faulty fell flimsy frayed frustrated frustrating garbage greasy harsh hate hated horrible
    inaccurate incorrect inferior irritating irritated issue issues itchy junk lacks leak leaked
    leaking leaks loose lousy mediocre mess messy misleading missing mistake mushy nasty
    overpriced pain painful pathetic peeled peeling poor poorly problem problems rash refund return
    returned returning returns ridiculous rip ripped rough rubbish ruined rusty sadly scam
    scratched scratchy shame sharp shoddy smelled smells smelly snapped soggy sour stale stained
    sticky stiff stink stinks stopped stuck terrible thin tasteless tore torn ugly unable
    uncomfortable unfortunately unhappy unpleasant unreliable unusable unusably upset useless
    waste wasted watery weak weird worse worst worthless wrong yuck
""")
_NEGATIONS = _set("""
    not no never without hardly barely cannot cant dont doesnt didnt isnt wasnt arent werent wont
    wouldnt couldnt shouldnt havent hasnt hadnt nor nothing neither lacks lacking
""")
_LUKEWARM = (2.5, 3.5)
"""Ratings between these are neither praise nor complaint."""
_REACH = 3
"""Words behind a negation that it turns round: "not a very good one"."""
_WORD = re.compile(r"[a-z][a-z-]*")
_CLAUSE = re.compile(r"[.,;:!?()]|\b(?:but|although|however)\b")


def sentiment(text: str) -> float | None:
    """From -1 (displeased) to 1 (pleased); None when no word says either."""
    pleased = displeased = 0
    for clause in _CLAUSE.split(text.lower().replace("’", "'").replace("'", "")):
        negated = 0
        for word in _WORD.findall(clause):
            if word in _NEGATIONS:
                negated = _REACH
                continue
            good, bad = word in _PLEASED, word in _DISPLEASED
            if negated:
                good, bad = bad and word != "return", good
                negated -= 1
            pleased += good
            displeased += bad
    if pleased + displeased == 0:
        return None
    return (pleased - displeased) / (pleased + displeased)


def agrees(mood: float | None, rating: float, *, strict: bool = False) -> bool:
    """Does a text's sentiment fit its rating of 1 to 5.

    Args:
        strict: a text of 1, 2, 4 or 5 stars must show its sentiment, and one of 3 not only one
            side; otherwise a text is just not to say the opposite.
    """
    if _LUKEWARM[0] < rating < _LUKEWARM[1]:
        return not strict or mood is None or abs(mood) < 1
    if mood is None:
        return not strict
    side = 1 if rating >= _LUKEWARM[1] else -1
    return mood * side > 0 if strict else mood * side >= 0
