"""Words that state a fact about a product, the units of its numbers, and words that state nothing.

Written by hand for shops in English. Another language has no such words here: then numbers and
names alone are looked at.
"""

from __future__ import annotations

_ATTRIBUTES = """
    amber apricot azure beige black blue bronze brown burgundy charcoal chrome coral cream crimson
    cyan ebony fuchsia gold grey=green indigo ivory khaki lavender lilac lime magenta mahogany
    maroon mauve mint mustard navy ochre olive orange peach pink plum purple red rose ruby scarlet
    silver=silvery tan taupe teal turquoise violet white yellow multicolour=multicolor
    gold=golden transparent=translucent
    acrylic alpaca aluminium=aluminum bamboo brass canvas cardboard cashmere ceramic chiffon
    copper corduroy cork cotton crystal denim diamond enamel fabric felt flannel fleece foam fur
    glass granite iron jersey jute lace latex leather linen marble metal=metallic mohair neoprene
    nylon oak paper pearl pewter pine plastic polyester porcelain quartz rattan resin rubber satin
    silicone silk slate steel stone suede teak terracotta tin tweed velvet vinyl walnut wax wicker
    wood=wooden wool=woollen wool=woolen zinc
    small medium large mini jumbo giant miniature=mini king queen oversized petite
    almond banana caramel cherry chocolate cinnamon coconut cranberry ginger grape hazelnut honey
    jasmine lemon mango pepper pineapple raspberry salted strawberry vanilla watermelon
    organic vegan vegetarian kosher halal decaf=decaffeinated fairtrade lactose gluten unsweetened
    unscented scented waterproof rechargeable wireless cordless foldable magnetic
    adjustable dimmable disposable reusable biodegradable recycled recyclable washable stainless
    antique handmade electric solar digital
    frozen smoked dried canned
"""
_AUDIENCE = """
    men=man=men's=male women=woman=women's=female=ladies=lady's boys=boy girls=girl
    children=child=children's=childrens=kids=kid baby=babies toddlers=toddler
"""


def _canonical(groups: str) -> dict[str, str]:
    return {word: group.split("=")[0] for group in groups.split() for word in group.split("=")}


CANONICAL = _canonical(_ATTRIBUTES)
"""An attribute word as it is written -> the spelling that stands for it."""
AUDIENCE = _canonical(_AUDIENCE)
"""Whom a product is for: must not get lost, but anybody may like anything."""

_UNITS = """
    oz=ounce=ounces=floz=fluidounces lb=lbs=pound=pounds g=gr=gram=grams=gramme=grammes
    kg=kgs=kilo=kilos=kilogram=kilograms mg=milligram=milligrams
    ml=millilitre=milliliter=millilitres=milliliters cl l=litre=liter=litres=liters=ltr
    gal=gallon=gallons qt=quart=quarts pt=pint=pints
    mm=millimetre=millimeter cm=centimetre=centimeter=centimetres=centimeters
    m=metre=meter=metres=meters inch=inches="=″ ft=foot=feet='=′ yd=yard=yards
    %=percent=pct w=watt=watts v=volt=volts mah k hz gb tb mp
    count=ct=cnt=count=pc=pcs=piece=pieces pack=pk=packs=pks=packet
"""
UNITS = _canonical(_UNITS)
"""A unit as it is written -> the one spelling that stands for it."""

_STOP_WORDS = """
    a about after all also an and any are as at be been but by can could did do does else ever
    every for from had has have he her hers him his how i if in into is it its just like made make
    makes may me more most much my no nor not of off on one only or other our out over own per set
    she so some such than that the their them then there these they this those to too under until
    up us use used using very was we were what when where which while who why will with without
    would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that two texts share without being about the same thing."""

_COMMON = """
    i i'm i've i'd i'll led tv usb diy ok uk us usa eu monday tuesday wednesday thursday friday
    saturday sunday christmas easter halloween
"""
COMMON = frozenset(_COMMON.split())
"""Written with a capital by everybody: no name of anything."""
