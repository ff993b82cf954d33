"""DNS queries without an answer yet, and the names of the addresses in answers."""

from __future__ import annotations

from collections import OrderedDict

from receiver.events import NameQuery, ProcessKey
from receiver.facts.table import Table
from receiver.text.names import AF_INET, address_of, name_in

NAMES = 4096
QUESTIONS = 4096
Question = tuple[ProcessKey, int, str]  # the process that asks, the query's id, and the name


class NameTable(Table[dict[Question, None]]):
    """A row holds the open queries of one process; they are bounded over all processes."""

    def __init__(self, keys: set[ProcessKey]) -> None:
        super().__init__(keys)
        self._names: OrderedDict[str, str] = OrderedDict()
        self._questions: OrderedDict[Question, NameQuery] = OrderedDict()

    def name_of(self, address: str) -> str:
        """The DNS name whose query returned this address; empty when there was no query."""
        return self._names.get(address, "")

    @property
    def names(self) -> dict[str, str]:
        """DNS names by address."""
        return dict(self._names)

    def asked(self, query: NameQuery) -> tuple[str, NameQuery | None]:
        """A DNS query or an answer: the name, and for an answer its query.

        Addresses in an answer get that name.
        """
        name = name_in(query.labels)
        question = (query.process, query.query_id, query.labels)
        if not query.query_flags & 0x8000:
            self._questions.setdefault(question, query)  # repeated: the first time counts
            (self.rows.get(query.process) or self.put(query.process, {}))[question] = None
            if len(self._questions) > QUESTIONS:
                self._take(next(iter(self._questions)))
                self.drops["forgotten_question"] += 1
            return name, None
        family = AF_INET if query.question_type == 1 else 0
        for high, low in (
            (query.first_high, query.first_low),
            (query.second_high, query.second_low),
        ):
            if high or low:
                address = address_of(family, high, low)
                self._names[address] = name
                self._names.move_to_end(address)
        while len(self._names) > NAMES:
            self._names.popitem(last=False)
            self.drops["forgotten_name"] += 1
        return name, self._take(question)

    def _take(self, question: Question) -> NameQuery | None:
        row = self.rows.get(question[0])
        if row is not None:
            row.pop(question, None)
            if not row:
                del self.rows[question[0]]
        return self._questions.pop(question, None)

    def unanswered(self, now_ns: int, after_ns: int) -> list[NameQuery]:
        """Removes and returns the queries that are older than that."""
        late = []
        while self._questions:
            question, query = next(iter(self._questions.items()))
            if now_ns - query.time_boottime_ns < after_ns:
                break
            self._take(question)
            late.append(query)
        return late

    def unanswered_by(self, asker: ProcessKey, before_ns: int) -> list[NameQuery]:
        """Removes and returns its open queries from before that time."""
        questions = [(q, self._questions[q]) for q in self.rows.get(asker, ())]
        late = [(q, query) for q, query in questions if query.time_boottime_ns <= before_ns]
        for question, _ in late:
            self._take(question)
        return [query for _, query in late]

    def forget(self, key: ProcessKey) -> None:
        for question in self.rows.pop(key, ()):
            del self._questions[question]
            self.drops["forgotten_question"] += 1
