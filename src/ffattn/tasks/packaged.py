"""Real data sets that ship inside a package: nothing is downloaded, and nothing is copied."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ffattn.files.layouts import CHARACTERS
from ffattn.files.splits import GROUP
from ffattn.tasks.file import File

_SKTIME = "sktime:datasets/data"


@dataclass
class JapaneseVowels(File):
    """Who of nine speakers has uttered two vowels: 12 coefficients, 7 to 29 steps; 270 sequences and 370 for the test.

    Source:
        Kudo, Toyama & Shimbo 1999, from the time-series archive at timeseriesclassification.com, by sktime.
    """

    path: str = f"{_SKTIME}/JapaneseVowels/JapaneseVowels_TRAIN.ts"
    test_path: str | None = f"{_SKTIME}/JapaneseVowels/JapaneseVowels_TEST.ts"


@dataclass
class BasicMotions(File):
    """Which of four motions: six channels of a watch, 100 steps; 40 sequences and 40 for the test.

    Source:
        The time-series archive at timeseriesclassification.com, by sktime.
    """

    path: str = f"{_SKTIME}/BasicMotions/BasicMotions_TRAIN.ts"
    test_path: str | None = f"{_SKTIME}/BasicMotions/BasicMotions_TEST.ts"


@dataclass
class Plaid(File):
    """Which of 11 appliances: its current, 100 to 1344 steps; 537 sequences and 537 for the test.

    Source:
        Gao et al. 2014, "PLAID", from the time-series archive at timeseriesclassification.com, by sktime.
    """

    name: ClassVar[str] = "plaid"

    path: str = f"{_SKTIME}/PLAID/PLAID_TRAIN.ts"
    test_path: str | None = f"{_SKTIME}/PLAID/PLAID_TEST.ts"


@dataclass
class Tecator(File):
    """The fat of meat from its absorbance at 100 wavelengths; 172 sequences and 43 for the test.

    Source:
        Borggaard & Thodberg 1992, from the time-series archive at tseregression.org, by sktime.
    """

    path: str = f"{_SKTIME}/Tecator/Tecator_TRAIN.ts"
    test_path: str | None = f"{_SKTIME}/Tecator/Tecator_TEST.ts"


@dataclass
class Watch(File):
    """Which of seven shoulder exercises: six channels of a watch, 947 to 2618 steps; 140 sequences of 20 people.

    No person is on two sides of the split.

    Source:
        Burns et al. 2018, arXiv:1802.01489, by seglearn.
    """

    path: str = "seglearn:watch"
    target: Any = "exercise"
    split: str = GROUP
    split_by: str | None = "subject"


@dataclass
class AMPvsUniProt(File):
    """Whether a peptide is antimicrobial: its amino acids, 7 to 174 letters; 5200 sequences.

    Source:
        Mueller et al. 2017, "modlAMP", with APD3 of January 2016 beside random peptides of UniProt, by modlamp.
    """

    name: ClassVar[str] = "amp_vs_uniprot"

    path: str = "modlamp:AMPvsUniProt"
    target: Any = "kind"
    features: Any = "sequence"
    tokens: str = CHARACTERS
