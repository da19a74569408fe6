"""The demo corpus's grammar: lexicon, abstract sentences, and their English side.

An abstract :class:`Sentence` has one English side (:func:`english`, inverted by
:func:`parse`) and many German ones (``analysis.py``). Words are lower case
except German nouns.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator, NamedTuple, Optional, Tuple

# "english plural : german gender plural / synonym ~ hypernym"; gender w is a
# masculine of the n-declension, plural "-" a mass noun.
NOUNS = {
    "person": """
        man men : Mann m Männer | woman women : Frau f Frauen | child children : Kind n Kinder
        boy boys : Junge w Jungen / Knabe w Knaben ~ Kind n Kinder
        girl girls : Mädchen n Mädchen ~ Kind n Kinder
        teacher teachers : Lehrer m Lehrer | doctor doctors : Arzt m Ärzte
        surgeon surgeons : Chirurg w Chirurgen ~ Arzt m Ärzte
        student students : Student w Studenten | neighbour neighbours : Nachbar w Nachbarn
        farmer farmers : Bauer w Bauern / Landwirt m Landwirte ~ Mann m Männer
        friend friends : Freund m Freunde | sister sisters : Schwester f Schwestern""",
    "animal": """
        dog dogs : Hund m Hunde | poodle poodles : Pudel m Pudel ~ Hund m Hunde
        cat cats : Katze f Katzen | bird birds : Vogel m Vögel
        sparrow sparrows : Spatz w Spatzen / Sperling m Sperlinge ~ Vogel m Vögel
        eagle eagles : Adler m Adler ~ Vogel m Vögel | horse horses : Pferd n Pferde""",
    "food": """
        apple apples : Apfel m Äpfel | bread - : Brot n - | cake cakes : Kuchen m Kuchen
        cheesecake cheesecakes : Käsekuchen m Käsekuchen ~ Kuchen m Kuchen
        roll rolls : Brötchen n Brötchen / Semmel f Semmeln ~ Gebäckstück n Gebäckstücke""",
    "drink": "coffee - : Kaffee m - | tea - : Tee m - | milk - : Milch f -",
    "text": """
        book books : Buch n Bücher | novel novels : Roman m Romane ~ Buch n Bücher
        letter letters : Brief m Briefe | newspaper newspapers : Zeitung f Zeitungen
        magazine magazines : Zeitschrift f Zeitschriften / Magazin n Magazine ~ Heft n Hefte""",
    "thing": """
        flower flowers : Blume f Blumen | rose roses : Rose f Rosen ~ Blume f Blumen
        picture pictures : Bild n Bilder | painting paintings : Gemälde n Gemälde ~ Bild n Bilder
        gift gifts : Geschenk n Geschenke
        sofa sofas : Sofa n Sofas / Couch f Couchs ~ Möbelstück n Möbelstücke""",
    "vehicle": """
        car cars : Auto n Autos / Wagen m Wagen ~ Fahrzeug n Fahrzeuge
        truck trucks : Lastwagen m Lastwagen / Laster m Laster ~ Fahrzeug n Fahrzeuge
        bicycle bicycles : Fahrrad n Fahrräder""",
    "place": """
        garden - : Garten m - | kitchen - : Küche f - | house - : Haus n - | school - : Schule f -
        church - : Kirche f - | station - : Bahnhof m - | shop - : Laden m - / Geschäft n -""",
}
GOODS = "food text thing vehicle"
# "english base, third person, past : subjects : objects : german infinitive,
# third person, participle, governed case"; prefix+ is separable, * takes "sein",
# past "-" means that the past is not used ("they read" would be ambiguous).
VERBS = f"""
    sleep sleeps slept : person animal : : schlafen schläft geschlafen
    work works worked : person : : arbeiten arbeitet gearbeitet
    laugh laughs laughed : person : : lachen lacht gelacht
    run runs ran : person animal : : laufen läuft *gelaufen / rennen rennt *gerannt
    stroll strolls strolled : person : : schlendern schlendert *geschlendert \
        / spazieren spaziert *spaziert ~ gehen geht *gegangen
    arrive arrives arrived : person : : an+kommen kommt *gekommen
    wake_up wakes_up woke_up : person animal : : auf+wachen wacht *gewacht
    read reads - : person : text : lesen liest gelesen
    write writes wrote : person : text : schreiben schreibt geschrieben
    eat eats ate : person : food : essen isst gegessen
    devour devours devoured : person : food : verschlingen verschlingt verschlungen \
        / auf+essen isst gegessen ~ essen isst gegessen
    drink drinks drank : person : drink : trinken trinkt getrunken
    buy buys bought : person : {GOODS} animal : kaufen kauft gekauft / erwerben erwirbt erworben
    receive receives received : person : text thing : bekommen bekommt bekommen \
        / erhalten erhält erhalten
    steal steals stole : person : {GOODS} : stehlen stiehlt gestohlen \
        / klauen klaut geklaut ~ nehmen nimmt genommen
    see sees saw : person animal : {GOODS} person animal : sehen sieht gesehen
    watch watches watched : person animal : person animal : beobachten beobachtet beobachtet \
        ~ sehen sieht gesehen
    find finds found : person animal : {GOODS} person animal : finden findet gefunden
    love loves loved : person : person animal : lieben liebt geliebt
    visit visits visited : person : person : besuchen besucht besucht
    call calls called : person : person : an+rufen ruft gerufen
    help helps helped : person : person animal : helfen hilft geholfen d
    follow follows followed : person animal : person animal : folgen folgt *gefolgt d
    wait_for waits_for waited_for : person animal : person : warten wartet gewartet auf:a
    play_with plays_with played_with : person animal : person animal : spielen spielt gespielt mit:d
    say says said : person : that : sagen sagt gesagt
    know knows knew : person : that : wissen weiß gewusst
    think thinks thought : person : that : denken denkt gedacht / glauben glaubt geglaubt
    give gives gave : person : dative {GOODS} : geben gibt gegeben
    show shows showed : person : dative {GOODS} : zeigen zeigt gezeigt
    send sends sent : person : dative {GOODS} : schicken schickt geschickt / senden sendet gesendet
    be is was : person animal {GOODS} : predicate : sein ist *gewesen
"""
LIVING, ALL = "person animal", f"person animal {GOODS}"
# "english : what it describes : german[,stem before an ending] / synonym ~ hypernym"
ADJECTIVES = f"""
    old : {ALL} place : alt | young : {LIVING} : jung | new : text thing vehicle place : neu
    small : {ALL} place : klein | tiny : animal {GOODS} place : winzig ~ klein
    big : animal {GOODS} place : groß | huge : animal {GOODS} place : riesig / gewaltig ~ groß
    beautiful : {LIVING} thing place : schön / hübsch | dark : place : dunkel,dunkl
    expensive : {GOODS} : teuer,teur | cheap : {GOODS} : billig / günstig
    happy : {LIVING} : glücklich / froh | tired : {LIVING} : müde,müd
    clever : {LIVING} : klug / schlau | strange : {ALL} place : seltsam / merkwürdig
"""
MANNERS = """quickly : schnell / rasch | slowly : langsam | quietly : leise | secretly : heimlich
    carefully : vorsichtig / behutsam | alone : allein"""
# "english : tenses : german"
TIMES = """today : present past modal : heute | now : present modal : jetzt / nun
    tomorrow : present modal : morgen | yesterday : past : gestern
    last_week : past : letzte_Woche / in_der_letzten_Woche
    often : present past modal : oft / häufig
    every_day : present past modal : jeden_Tag / täglich"""
CONJUNCTIONS = """because : weil / da | although : obwohl / obgleich | if : wenn / falls
    while : während | that : dass"""
MODALS = {"can": ("kann", "können"), "must": ("muss", "müssen"), "should": ("soll", "sollen"),
          "may": ("darf", "dürfen")}
PRONOUNS = {"he": ("er", False), "she": ("sie", False), "we": ("wir", True), "they": ("sie", True)}
PREPOSITIONS = {"in": "in", "behind": "hinter", "in front of": "vor"}


class Entry(NamedTuple):
    """One English word: its forms, features, and German options, generic ones apart."""

    english: Tuple[str, ...]
    features: Tuple[Tuple[str, ...], ...]
    specific: Tuple[Tuple[str, ...], ...]
    generic: Tuple[Tuple[str, ...], ...]


def _entries(table: str) -> Iterator[Tuple[str, Entry]]:
    for row in table.replace("|", "\n").strip().splitlines():
        english, *features, german = (field.strip() for field in row.split(" :"))
        words = [[tuple(o.split()) for o in side.split("/")] for side in german.split("~")]
        forms = tuple(form.replace("_", " ") for form in english.split())
        yield forms[0], Entry(forms, tuple(tuple(f.split()) for f in features), tuple(words[0]),
                              tuple(words[1]) if len(words) > 1 else ())


NOUN = {key: (kind, entry) for kind, table in NOUNS.items() for key, entry in _entries(table)}
VERB, ADJECTIVE, MANNER = (dict(_entries(t)) for t in (VERBS, ADJECTIVES, MANNERS))
TIME, CONJUNCTION = dict(_entries(TIMES)), dict(_entries(CONJUNCTIONS))


@dataclass(frozen=True)
class NounPhrase:
    """A pronoun (``article`` "pronoun") or article ("the", "a", "my"), adjective and noun."""

    noun: str
    article: str = "the"
    plural: bool = False
    adjective: Optional[str] = None


@dataclass(frozen=True)
class Clause:
    """Who does what; ``tense`` is "present", "past" or an English modal verb."""

    subject: NounPhrase
    verb: str
    tense: str = "present"
    negated: bool = False
    recipient: Optional[NounPhrase] = None
    object: Optional[NounPhrase] = None
    predicate: Optional[str] = None
    manner: Optional[str] = None
    preposition: Optional[str] = None
    place: Optional[NounPhrase] = None
    time: Optional[str] = None


@dataclass(frozen=True)
class Sentence:
    """A main clause and, after the conjunction ``link``, possibly a subordinate one."""

    main: Clause
    link: Optional[str] = None
    sub: Optional[Clause] = None


def _noun_phrase(phrase: NounPhrase) -> str:
    if phrase.article == "pronoun":
        return phrase.noun
    noun = NOUN[phrase.noun][1].english[phrase.plural]
    article = "" if phrase.article == "a" and phrase.plural else phrase.article
    words = [word for word in (phrase.adjective, noun) if word]
    if article == "a" and words[0][0] in "aeiou":
        article = "an"
    return " ".join([article, *words] if article else words)


def _verb_group(clause: Clause) -> str:
    base, third, *past = VERB[clause.verb].english
    plural, not_ = clause.subject.plural, " not" if clause.negated else ""
    if clause.verb == "be":
        return (("is", "are"), ("was", "were"))[clause.tense == "past"][plural] + not_
    if clause.tense in MODALS:
        return f"{clause.tense}{not_} {base}"
    if clause.negated:
        return f"{'did' if clause.tense == 'past' else 'do' if plural else 'does'} not {base}"
    return past[0] if clause.tense == "past" else base if plural else third


def english_clause(clause: Clause) -> str:
    """The English side of a clause."""
    phrases = [clause.recipient, clause.object]
    words = [clause.time, _noun_phrase(clause.subject), _verb_group(clause),
             *(_noun_phrase(phrase) for phrase in phrases if phrase), clause.predicate,
             clause.manner]
    if clause.place:
        words += [clause.preposition, _noun_phrase(clause.place)]
    return " ".join(word for word in words if word).replace("_", " ")


def english(sentence: Sentence) -> str:
    """The English side."""
    sub = f" {sentence.link} {english_clause(sentence.sub)}" if sentence.sub else ""
    return f"{english_clause(sentence.main)}{sub} ."


def _phrase_pattern(name: str) -> str:
    nouns = "|".join(form for _, entry in NOUN.values() for form in entry.english)
    return (rf"(?:(?P<{name}_pronoun>{'|'.join(PRONOUNS)})|(?:(?P<{name}_article>the|an?|my) )?"
            rf"(?:(?P<{name}_adjective>{'|'.join(ADJECTIVE)}) )?(?P<{name}_noun>{nouns}))")


def _phrase(match, name: str) -> Optional[NounPhrase]:
    pronoun, article, adjective, noun = (
        match[f"{name}_{part}"] for part in ("pronoun", "article", "adjective", "noun"))
    if pronoun:
        return NounPhrase(pronoun, "pronoun", PRONOUNS[pronoun][1])
    if not noun:
        return None
    key = next(key for key, (_, entry) in NOUN.items() if noun in entry.english)
    article = "a" if article in (None, "an") else article
    return NounPhrase(key, article, noun != key, adjective)


@lru_cache(maxsize=None)
def _clause_pattern() -> "re.Pattern[str]":
    def words(keys):
        return "|".join(key.replace("_", " ") for key in keys)

    verbs = [form for entry in VERB.values() for form in entry.english]
    verbs += ["are", "were"]
    return re.compile(
        rf"(?:(?P<time>{words(TIME)}) )?{_phrase_pattern('subject')} "
        rf"(?:(?P<do>does|do|did|{'|'.join(MODALS)})(?P<neg> not)? )?"
        rf"(?P<verb>{'|'.join(sorted(verbs, key=len, reverse=True))})(?P<be_neg> not)?"
        rf"(?: {_phrase_pattern('recipient')})?(?: {_phrase_pattern('object')})?"
        rf"(?: (?P<predicate>{'|'.join(ADJECTIVE)}))?(?: (?P<manner>{words(MANNER)}))?"
        rf"(?: (?P<preposition>{'|'.join(PREPOSITIONS)}) {_phrase_pattern('place')})?")


def _parse_clause(text: str) -> Clause:
    match = _clause_pattern().fullmatch(text)
    if match is None:
        raise ValueError(f"not a clause of the grammar: {text!r}")
    form, auxiliary = {"are": "is", "were": "was"}.get(match["verb"], match["verb"]), match["do"]
    verb, forms = next((k, e.english) for k, e in VERB.items() if form in e.english)
    past = auxiliary == "did" or (not auxiliary and forms.index(form) == 2)
    recipient, direct = _phrase(match, "recipient"), _phrase(match, "object")
    if direct is None:
        recipient, direct = None, recipient
    return Clause(
        _phrase(match, "subject"), verb,
        auxiliary if auxiliary in MODALS else "past" if past else "present",
        bool(match["neg"] or match["be_neg"]), recipient, direct, match["predicate"],
        match["manner"], match["preposition"], _phrase(match, "place"), match["time"])


def parse(source: str) -> Sentence:
    """The structure of an English sentence; ``ValueError`` if it is not of the grammar."""
    text, links = source[:-2], "|".join(CONJUNCTION)
    main, *rest = re.split(rf" ({links}) ", text)
    sentence = Sentence(_parse_clause(main), *rest[:1], *map(_parse_clause, rest[1:]))
    if english(sentence) != source:
        raise ValueError(f"not a sentence of the grammar: {source!r}")
    return sentence
