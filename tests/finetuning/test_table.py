"""Tables and labels: what is read, and what each damage is called."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from hidlr.errors import InputError
from hidlr.finetuning.labels import label_names, numbered
from hidlr.finetuning.metrics import classification_metrics
from hidlr.finetuning.table import read_table


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def test_tsv_is_not_quoted(tmp_path):
    table = read_table(written(tmp_path, "a.tsv", 'sentence\tlabel\nsay "hi\t1\nun été\t0\n'))
    assert table.texts == [('say "hi',), ("un été",)]
    assert table.labels == ["1", "0"]
    assert table.columns == ("sentence", "label")


def test_csv_is_quoted(tmp_path):
    table = read_table(written(tmp_path, "a.csv", 'id,text,label\n7,"a, ""b""\nc",x\n8,d,y\n'))
    assert table.texts == [('a, "b"\nc',), ("d",)]


def test_json_lines_may_have_numbers_for_labels(tmp_path):
    table = read_table(written(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "label": 0}\n'))
    assert table.labels == ["1", "0"]


def test_pairs_by_their_usual_names(tmp_path):
    table = read_table(written(tmp_path, "a.tsv", "premise\thypothesis\tlabel\na\tb\t1\n"))
    assert table.texts == [("a", "b")]


def test_the_other_of_two_columns_is_the_text(tmp_path):
    assert read_table(written(tmp_path, "a.tsv", "words\tlabel\na\t1\n")).columns == ("words", "label")
    assert read_table(written(tmp_path, "b.tsv", "words\tgold\na\t1\n"), label="gold").columns == ("words", "gold")


def test_named_columns(tmp_path):
    path = written(tmp_path, "a.csv", "x,y,z\na,b,c\n")
    assert read_table(path, ["z", "x"], "y").texts == [("c", "a")]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    assert read_table(written(tmp_path, "a.tsv", "text\tlabel\na\t1\n", "utf-8-sig")).columns == ("text", "label")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "text\tlabel\n", r"\.tsv, \.csv or \.jsonl"),
        ("a.tsv", "", "has no examples"),
        ("a.tsv", "text\tlabel\n", "has no examples"),
        ("a.jsonl", "\n", "has no examples"),
        ("a.tsv", "text\tlabel\na\t1\nb\n", "line 3 has 1 fields, the header has 2"),
        ("a.tsv", "text\tlabel\na\t1\t2\n", "line 2 has 3 fields, the header has 2"),
        ("a.csv", 'text,label\n"a,1\n', "a.csv: unexpected end of data"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", "[1, 2]\n", "line 1 is not an object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2: 'label' is None"),
        ("a.jsonl", '{"text": "a", "label": 0.5}\n', "line 1: 'label' is 0.5, expected a text or a whole number"),
        ("a.tsv", "text\tlabel\na\t1\n \t0\n", "line 3: 'text' is empty"),
        ("a.tsv", "a\tb\tlabel\nx\ty\t1\n", "no column looks like the text among 'a', 'b', 'label'.*--text-column"),
        ("a.tsv", "text\tb\nx\ty\n", "no column looks like the label among 'text', 'b'.*--label-column"),
    ],
)
def test_what_cannot_be_used(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read_table(written(tmp_path, name, text))


def test_a_missing_column_lists_those_there_are(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\na\t1\n")
    with pytest.raises(InputError, match=r"no column 'gold': it has 'text', 'label'"):
        read_table(path, label="gold")
    with pytest.raises(InputError, match=r"no column 'body': it has 'text', 'label'"):
        read_table(path, ["body"])


def test_a_missing_file_and_another_encoding(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_table(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="not UTF-8"):
        read_table(written(tmp_path, "b.tsv", "text\tlabel\né\t1\n", "latin-1"))


def test_labels(tmp_path):
    path = tmp_path / "a.tsv"
    assert label_names(["10", "-1", "9", "9"], path) == ["-1", "9", "10"]
    assert label_names(["b", "a", "b"], path) == ["a", "b"]
    assert numbered(["b", "a"], ["a", "b"], path) == [1, 0]
    with pytest.raises(InputError, match="every example has the label '1'"):
        label_names(["1", "1"], path)
    with pytest.raises(InputError, match="a label of its own"):
        label_names(["a", "b", "c"], path)
    with pytest.raises(InputError, match="that the training file lacks: 'c'; there are 'a', 'b'"):
        numbered(["c", "a"], ["a", "b"], path)


@pytest.mark.parametrize("count", [2, 5])
def test_metrics_are_scikit_learn_s(count):
    draw = np.random.default_rng(0)
    for _ in range(20):
        scores, labels = draw.normal(size=(40, count)), draw.integers(0, count, 40)
        said = scores.argmax(1)
        found = classification_metrics(scores, labels)
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, said))
        assert found["f1"] == pytest.approx(f1_score(labels, said, average="macro"))
        assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, said))


def test_metrics_of_a_classifier_that_says_one_thing():
    found = classification_metrics(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 1, 1]))
    assert found == {"accuracy": 0.5, "f1": pytest.approx(1 / 3), "mcc": 0.0}
