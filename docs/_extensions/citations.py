"""How citations and the bibliography look: by author and year, without numbers."""

from dataclasses import dataclass, field

from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinxcontrib.bibtex.plugin import register_plugin as register_reference_style
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def _round_brackets():
    return BracketStyle(left="(", right=")")


@dataclass
class RoundAuthorYear(AuthorYearReferenceStyle):
    """Citations in the text: Cuturi (2013), and (Cuturi, 2013)."""

    bracket_textual: BracketStyle = field(default_factory=_round_brackets)
    bracket_parenthetical: BracketStyle = field(default_factory=_round_brackets)


class AuthorYearLabels(BaseLabelStyle):
    """Labels of the bibliography: names and year, as citations have them."""

    def format_labels(self, sorted_entries):
        labels = [self._label(entry) for entry in sorted_entries]
        for i, label in enumerate(labels):
            letter = chr(ord("a") + labels[:i].count(label)) if labels.count(label) > 1 else ""
            yield label + letter

    @staticmethod
    def _label(entry):
        names = [
            " ".join(person.prelast_names + person.last_names) for person in entry.persons["author"]
        ]
        authors = names[0] + " et al." if len(names) > 2 else " and ".join(names)
        return f"{authors}, {entry.fields['year']}"


class AuthorYearStyle(PlainStyle):
    default_label_style = AuthorYearLabels


register_reference_style(
    "sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear
)
register_plugin("pybtex.style.formatting", "author_year", AuthorYearStyle)
