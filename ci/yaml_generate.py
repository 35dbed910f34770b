"""Random YAML documents for `yaml_diff.py`: valid, nearly valid and broken ones, reproducible by seed."""

from __future__ import annotations

import random

# One text split into words: easier to read and to extend than a list over 150 lines.
WORDS = (  # noqa: SIM905
    "yes no on off true false y n Yes NO On OFF TRUE False tRue yEs ~ null Null NULL nULL None = << "
    "< ! & * hello agent-1 a.b http://x.y:80/z a#b -dash ?q :c @at `tick %pct {{ x }} {% if %} "
    "${HOME} é 日本 🙂 foo:bar foo::bar 12:30:45 a:1 1,000 x,y a?b ?: -: --- ... --- --a .. .5.5 1.2.3 "
    "0x 0b 0o17 08 09 0_ 0__7 0b_ 0x_ 1_ _1 1__0 +1 -1 +0 -0 00 010 0777 -010 0x1F 0xfg -0x10 0b101 "
    "0b12 1:30 190:20:30 1:60 -1:30 01:30 1:30.5 1:2:3.25 1. .5 -.5 +.5 1.5 1e3 1.5e3 1.5e+3 1.5E-3 "
    "1.e+3 .5e+1 .inf -.INF +.Inf .nan .NaN .NAN .iNf inf nan 1_000.5 1._5 0.0 -0.0 "
    "12345678901234567890123 9223372036854775807 9223372036854775808 1e999 1.0e+999 0.1 "
    "123456789.123456789 2024-01-31 2024-1-1 2024-02-30 0000-01-01 9999-12-31 2024-01-31T10:20:30Z "
    "2024-01-31t1:20:30 2024-01-31T10:20:30+02:00 2024-01-31T10:20:30.25 "
    "2024-01-31T10:20:30.1234567-5 2024-01-31T25:20:30 2024-01-31T10:20:30+24:00 "
    "2024-01-31T10:20:30+23:59 2024-01-31T10:20:30.Z 2024-1-2T3:04:05"
).split()

# Words that can stand anywhere and make a value.
SAFE_WORDS = [
    word
    for word in WORDS
    if word[0] not in "!&*?:@`%{,.=<-"
    and not set(word) & set("{}?,")
    and not word.startswith(("2024-02-30", "0000", "2024-01-31T25", "0b_", "0x_"))
    and not word.endswith("+24:00")
]

PHRASES = [
    "two words",
    "2024-01-31 10:20:30",
    "2024-01-31 10:20:30 Z",
    "2024-01-31  10:20:30.5 -03:30",
    "a: b",
    "k: v: w",
    "text # no",
    "text #comment",
    "a  b",
    "tab\there",
    "ends with tab\t",
    "- item",
    "? key",
    "it's",
    'say "x"',
    "back\\slash",
    "a, b",
    "[x",
    "x]",
    "{x",
    "x}",
    "}",
    "!tag x",
    "&anchor x",
    "a &b",
    "a *b",
    "a !c",
    "| x",
    "> x",
    "% x",
    "a:",
    ":",
    "-",
    "?",
    "",
    " ",
    "#",
    "a: ",
    "\u2028",
    "a\u2028b",
    "x\x85y",
    "a\xa0b",
    "\ufeff",
    "a\ufeffb",
    "--- x",
    "... x",
    "1 2",
    "0 ",
    "<<: x",
    "= =",
    "12 # c",
]

SAFE = [
    "two words",
    "a#b",
    "it's",
    "x: y".replace(" ", ""),
    "2024-01-31 10:20:30",
    "hello world # comment",
    "back\\slash",
    'say "x"',
    "f(x) = y",
    "3 apples",
    "http://localhost:80/a=c",
    "ends with colon:x",
    "a-b",
    "C:\\dir",
    "50%",
    "me@example.com",
    "é à ü",
]

ESCAPES = [
    "\\n",
    "\\t",
    "\\0",
    "\\x41",
    "\\u00e9",
    "\\U0001F642",
    "\\e",
    "\\_",
    "\\N",
    "\\L",
    "\\P",
    "\\/",
    "\\\\",
    '\\"',
    "\\ ",
    "\\\t",
    "\\a\\b\\v\\f\\r",
    "\\q",
    "\\x4",
    "\\u12",
    "\\'",
    "\\\n",
    "\\\n   ",
    "\\U00110000",
    "\\ud83d",
]

TAGS = (  # noqa: SIM905
    "!!str !!int !!float !!bool !!null !!binary !!timestamp !!set !!omap !!pairs !!seq !!map !!merge "
    "!!value !!foo ! !local !e!x !<tag:yaml.org,2002:str> !<!> !<foo> !!python/none !!s%74r !!st%zz "
    "!a,b !!str, !!%C3%A9"
).split()

BROKEN = [
    *"\t\n\r :-?[]{},#&*!|>'\"%@`=~<0123_.aZ\\/",
    "\x00",
    "\x07",
    "\x7f",
    "\x85",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\ud7ff",
    "\ufffe",
    "é",
    "\U0001f642",
    "  ",
    "\n\n",
    ": ",
    "- ",
    "? ",
    "\n- ",
    "\n  ",
    "---\n",
    "\n...\n",
    "\n--- ",
    "<<: ",
    "&a ",
    "*a",
    "!!str ",
    " #",
    "|+",
    ">-",
    "\r\n",
    "{{ x }}",
    "\t#",
    "''",
    '""',
]


class Generator:
    """Documents from one seed. `document()` gives a new one at each call."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.anchors: list[str] = []
        # A tame document keeps to what mostly loads; only then do its finer points come to be compared.
        self.tame = False
        self.names = 0

    def document(self) -> str:
        """A document; about one in three is damaged at random places."""
        self.anchors = []
        self.tame = self.random.random() < 0.6
        pick = self.random.random()
        if pick < 0.15:
            text = self.wrapped_scalar()
        elif pick < 0.25:
            text = self.flow(0) + self.chance(0.8, "\n", "")
        else:
            text = self.block(0, 0)
        if self.random.random() < (0.04 if self.tame else 0.15):
            text = self.framed(text)
        if self.random.random() < 0.05:
            text = text.replace("\n", self.random.choice(["\r\n", "\r", "\x85", "\u2028"]))
        if self.random.random() < (0.1 if self.tame else 0.5):
            text = self.damaged(text)
        return text

    def chance(self, probability: float, yes: str, no: str) -> str:
        return yes if self.random.random() < probability else no

    def framed(self, text: str) -> str:
        before = self.random.choice(
            [
                "---\n",
                "--- ",
                "---",
                "%YAML 1.1\n---\n",
                "%YAML 1.2\n---\n",
                "%YAML 2.0\n---\n",
                "%YAML 1\n---\n",
                "\ufeff",
                "%TAG !e! tag:yaml.org,2002:\n---\n",
                "%TAG ! !foo\n---\n",
                "%FOO bar # x\n---\n",
                "%YAML 1.1\n",
                "# c\n\n",
                " ",
                "--- # c\n",
                "--- !!map\n",
                "--- &root\n",
                "--- |\n",
                "--- >\n ",
                "...\n",
                "%TAG !! tag:x,2000:\n---\n",
                "%YAML 1.1\n%YAML 1.1\n---\n",
            ]
        )
        after = self.random.choice(
            [
                "",
                "",
                "...\n",
                "---\n",
                "--- x\n",
                "... # c\n",
                "...\n---\n",
                "# end",
                "\n\n",
                " \n\t\n",
                "...x\n",
            ]
        )
        return before + text + after

    def damaged(self, text: str) -> str:
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randint(0, len(text))
            kind = self.random.random()
            if kind < 0.5:
                text = text[:at] + self.random.choice(BROKEN) + text[at:]
            elif kind < 0.8:
                text = text[:at] + text[at + self.random.randint(1, 3) :]
            elif kind < 0.9:
                text = text[:at]
            else:
                start = self.random.randint(0, len(text))
                text = text[:at] + text[start : start + self.random.randint(1, 20)] + text[at:]
        return text

    # Scalars ---------------------------------------------------------------------------------------------

    def number(self) -> str:
        def digits(alphabet: str, most: int = 6) -> str:
            return "".join(self.random.choice(alphabet) for _ in range(self.random.randint(0, most)))

        sign = self.random.choice(["", "", "", "-", "+"])
        kind = self.random.randint(0, 7)
        if kind == 0:
            return sign + digits("0123456789_")
        if kind == 1:
            return sign + "0" + digits("01234567_8")
        if kind == 2:
            return sign + self.random.choice(["0x", "0X", "0b", "0o"]) + digits("01abcdefF_2")
        if kind == 3:
            return sign + ":".join(digits("0123456789_", 3) for _ in range(self.random.randint(2, 4)))
        if kind == 4:
            exponent = self.random.choice(["", "", "e5", "e+5", "E-3", "e+", "e-400", "e+308"])
            return f"{sign}{digits('0123456789_')}.{digits('0123456789_')}{exponent}"
        if kind == 5:
            return (
                sign
                + ":".join(digits("0123456", 2) for _ in range(self.random.randint(2, 4)))
                + "."
                + digits("0123456789")
            )
        if kind == 6:
            date = self.random.choice(
                ["2024-02-29", "2023-02-29", "1999-12-31", "2024-1-1", "0001-01-01", "2024-13-01"]
            )
            gap = self.random.choice(["T", "t", " ", "   ", "", " \t"])
            clock = self.random.choice(
                [
                    "10:20:30",
                    "1:02:03",
                    "23:59:60",
                    "24:00:00",
                    "10:20",
                    "10:20:30.",
                    "10:20:30.000001",
                    "0:00:00.99999999",
                ]
            )
            zone = self.random.choice(
                ["", "Z", " Z", "+1", "-01:30", " +12:00", "+24:00", "+99", "-00:00", "z", "+1:5", "-23:59"]
            )
            return date + gap + clock + zone
        return str(self.random.choice([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 0]))

    def plain(self) -> str:
        if self.tame and self.random.random() < 0.9:
            if self.random.random() < 0.3:
                return self.random.choice(SAFE)
            if self.random.random() < 0.2:
                return " ".join(self.random.choice(SAFE) for _ in range(self.random.randint(2, 6)))
            return self.random.choice(SAFE_WORDS)
        pick = self.random.random()
        if pick < 0.45:
            return self.random.choice(WORDS)
        if pick < 0.65:
            return self.number()
        if pick < 0.85:
            return self.random.choice(PHRASES)
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(1, 4)))

    def quoted(self, indent: int) -> str:
        parts = []
        double = self.random.random() < 0.5
        for _ in range(self.random.randint(0, 4)):
            pick = self.random.random()
            if double and pick < 0.35:
                odd = not self.tame and self.random.random() < 0.3
                parts.append(self.random.choice(ESCAPES if odd else ESCAPES[:17]))
            elif pick < 0.45:
                parts.append(
                    self.chance(0.5, " ", "")
                    + "\n" * self.random.randint(1, 3)
                    + " " * self.random.randint(0, indent + 2)
                )
            else:
                text = self.plain()
                parts.append(
                    text.replace("\\", "\\\\").replace('"', '\\"') if double else text.replace("'", "''")
                )
            if self.random.random() < 0.3:
                parts.append(self.random.choice([" ", "  ", "\t"]))
        quote = '"' if double else "'"
        return quote + "".join(parts) + quote

    def tame_block_scalar(self, indent: int) -> str:
        depth = " " * (indent + 2)
        lines = [
            depth + self.random.choice(["", "", "", "  ", "\t"]) + self.plain()
            for _ in range(self.random.randint(1, 6))
        ]
        for _ in range(self.random.randint(0, 3)):
            lines.insert(self.random.randint(0, len(lines)), self.random.choice(["", "", depth, depth + " "]))
        header = (
            self.random.choice("|>")
            + self.random.choice(["", "", "-", "+", "2", "2-", "+2"])
            + self.chance(0.1, " # c", "")
        )
        if not header.strip("|>-+ #c").isdigit():
            lines.insert(0, depth + "first")
        return header + "\n" + "\n".join(lines) + "\n" * self.random.randint(1, 3)

    def block_scalar(self, indent: int) -> str:
        if self.tame:
            return self.tame_block_scalar(indent)
        header = self.random.choice("|>") + self.random.choice(
            ["", "", "", "-", "+", "2", "1", "2-", "+1", "-3", "0", "x", "-+", "10"]
        )
        header += self.random.choice(["", "", "", " # comment", " ", "#x", " x"])
        depth = " " * (indent + self.random.choice([1, 2, 2, 2, 4, 0]))
        lines = []
        for _ in range(self.random.randint(0, 5)):
            pick = self.random.random()
            if pick < 0.25:
                lines.append(self.random.choice(["", "", " ", depth, depth + "  ", "\t"]))
            elif pick < 0.4:
                lines.append(depth + self.random.choice(["  ", " ", "\t"]) + self.plain())
            elif pick < 0.45:
                lines.append(depth[1:] + self.plain())
            else:
                lines.append(depth + self.plain())
        return header + "\n" + "\n".join(lines) + self.random.choice(["\n", "\n", "\n\n", "", "\n \n"])

    def multiline(self, indent: int) -> str:
        breaks = [
            self.chance(0.2, " ", "")
            + "\n" * self.random.choice([1, 1, 2, 3])
            + " " * (indent + self.random.randint(0, 3))
            for _ in range(2)
        ]
        return self.plain() + breaks[0] + self.plain() + self.chance(0.4, breaks[1] + self.plain(), "")

    def properties(self) -> str:
        out = ""
        if self.random.random() < 0.06 and not (self.tame and len(self.anchors) > 20):
            self.names += 1
            name = (
                self.random.choice("abcd")
                if self.random.random() < 0.5 and not self.tame
                else f"n{self.names}"
            )
            self.anchors.append(name)
            out += f"&{name} "
        if self.random.random() < (0 if self.tame else 0.05):
            out = (
                self.random.choice(TAGS) + " " + out
                if self.random.random() < 0.5
                else out + self.random.choice(TAGS) + " "
            )
        return out

    def alias(self) -> str:
        return "*" + (
            self.random.choice(self.anchors)
            if self.anchors and self.random.random() < 0.95
            else "undefined"
            if not self.tame
            else (self.anchors or ["x"])[0]
        )

    def scalar(self, indent: int) -> str:
        if self.anchors and self.random.random() < 0.1:
            return self.alias()
        pick = self.random.random()
        text = self.plain() if pick < 0.75 else self.quoted(indent) if pick < 0.93 else self.multiline(indent)
        return self.properties() + text

    def wrapped_scalar(self) -> str:
        """One scalar in a place of its own, mostly with a tag: what the types make of odd text."""
        pick = self.random.random()
        tag = self.random.choice([*TAGS, "", "", "", "", ""])
        if pick < 0.5:
            text = f"{tag} {self.plain()}"
        elif pick < 0.7:
            text = f"{tag} '{self.plain()}'"
        elif pick < 0.8:
            text = f"{tag} |\n {self.number()}\n"
        elif pick < 0.9:
            text = (
                tag
                + " "
                + self.random.choice(
                    [
                        "aGk=",
                        "aGk",
                        "a",
                        "a Gk = =",
                        "aGk=aGk=",
                        "é",
                        "====",
                        "YQ",
                        "YWJj\n ZGVm",
                        "Y",
                        "YWJ=j",
                    ]
                )
            )
        else:
            text = tag + " " + self.flow(2)
        return (
            self.random.choice(["", "- ", "k: ", "[", "? "])
            + text.lstrip()
            + self.random.choice(["\n", "", "]", ": 1\n"])
        )

    # Collections -----------------------------------------------------------------------------------------

    def flow(self, depth: int) -> str:
        def gap() -> str:
            return self.random.choice(["", "", "", " ", " ", "\n ", " # c\n "])

        if depth > 3 or self.random.random() < 0.25:
            return self.scalar(2)
        items = []
        is_map = self.random.random() < 0.5
        for _ in range(self.random.randint(0, 4)):
            pick = self.random.random()
            value = self.flow(depth + 1)
            if is_map if pick < 0.85 or self.tame else not is_map:
                mark = ": " if self.tame else self.random.choice([": ", ": ", ": ", ":", " : ", " :", ":\n "])
                key = (
                    "<<"
                    if self.random.random() < 0.06 and not self.tame
                    else self.quoted(0).replace("\n", "")
                    if self.tame
                    else self.flow(depth + 2)
                )
                items.append(self.chance(0.06, "? ", "") + key + mark + value)
            else:
                items.append(value)
        mark = self.random.choice([",", ", ", ", ", " , ", ",\n  "])
        body = (
            gap() + mark.join(items) + gap() + (self.chance(0.1, ",", "") if items or not self.tame else "")
        )
        return self.properties() + ("{" + body + "}" if is_map else "[" + body + "]")

    def value(self, indent: int, depth: int, after: str) -> str:
        """What follows `- ` or `key:`; ends with a line break."""
        pick = self.random.random()
        odd = not self.tame and self.random.random() < 0.1
        tail = self.random.choice(
            ["\n", "\n", "\n", "\n", " # c\n", "  \n", "\n\n", "\n# c\n", "\t\n" if odd else "\n"]
        )
        if depth < 4 and pick < 0.3:
            step = self.random.choice([2, 2, 2, 1, 4])
            child = self.block(
                indent + (0 if after == ":" and self.random.random() < 0.2 else step), depth + 1
            )
            if after == "-" and self.random.random() < 0.5:
                return " " * (step - 1) + child[indent + step :]
            return (" " + self.properties() if self.random.random() < 0.1 else "") + tail + child
        if pick < 0.42:
            return " " + self.properties() + self.block_scalar(indent)
        if pick < 0.55:
            return " " + self.flow(1) + tail
        if pick < 0.6:
            return tail
        if pick < 0.66 and self.anchors:
            return " " + self.alias() + tail
        return self.random.choice([" ", " ", " ", "  ", "\t" if odd else " "]) + self.scalar(indent) + tail

    def block(self, indent: int, depth: int) -> str:
        pad = " " * indent
        out = []
        if self.random.random() < 0.4:
            for _ in range(self.random.randint(1, 4)):
                out.append(pad + "-" + self.value(indent, depth, "-"))
            return "".join(out)
        for _ in range(self.random.randint(1, 5)):
            pick = self.random.random()
            if pick < 0.12 and self.anchors:
                names = ", ".join(
                    "*" + self.random.choice(self.anchors) for _ in range(self.random.randint(1, 3))
                )
                out.append(
                    f"{pad}<<: "
                    + (f"[{names}]" if "," in names or self.random.random() < 0.3 else names)
                    + "\n"
                )
            elif pick < 0.15:
                key = " " + self.scalar(9) + "\n" if self.tame else self.value(indent, depth, "-")
                out.append(f"{pad}?" + key + self.chance(0.8, f"{pad}:" + self.value(indent, depth, "-"), ""))
            elif pick < 0.45:
                # A map under an anchor, to be merged or repeated further down.
                self.names += 1
                name = f"m{self.names}"
                if self.random.random() < (0.2 if self.tame else 0.7):
                    self.anchors.append(name)
                body = self.chance(
                    0.5,
                    f" {{k: {self.plain()}, {self.random.choice('kxyz')}: {self.scalar(0)}}}\n",
                    "\n" + self.block(indent + 2, depth + 2),
                )
                out.append(f"{pad}{self.random.choice('abcdexyz')}: &{name}{body}")
            else:
                key = (
                    self.random.choice("abcdexyz")
                    if pick < 0.8
                    else self.random.choice(SAFE_WORDS)
                    if self.tame
                    else self.scalar(indent)
                )
                out.append(
                    pad + key + self.random.choice([":", ":", ":", " :"]) + self.value(indent, depth, ":")
                )
        return "".join(out)
