"""c.topics."""

import dmq
import pytest


def test_create_describe_list_delete(c):
    made = c.topics.create("made", partitions=3, replicas=1, config={"durability": "async"})
    assert made.name == "made" and made.replicas == 1
    assert made.config == {"durability": "async"}
    assert [p.partition for p in made.partitions] == [0, 1, 2]
    assert all(p.leader == 101 and p.replicas == p.isr == [101] for p in made.partitions)
    assert c.topics.describe("made") == made
    assert c.topics.partitions("made") == 3
    assert "made" in c.topics.list()
    c.topics.delete("made")
    assert "made" not in c.topics.list()
    with pytest.raises(dmq.UnknownTopicOrPartitionError):
        c.topics.describe("made")


def test_if_not_exists_leaves_it_as_it_is(c, topic):
    before = c.topics.describe(topic)
    with pytest.raises(dmq.TopicExistsError) as caught:
        c.topics.create(topic, partitions=5)
    assert caught.value.code == 36 and not caught.value.retriable
    assert c.topics.create(topic, partitions=5, if_not_exists=True) == before


def test_delete_if_exists(c):
    c.topics.delete("never-was", if_exists=True)
    with pytest.raises(dmq.UnknownTopicOrPartitionError):
        c.topics.delete("never-was")


def test_settings_are_written_as_the_cluster_wants_them(c):
    made = c.topics.create("settings", config={"max.message.bytes": 5000})
    assert made.config == {"max.message.bytes": "5000"}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"name": "a/b"}, dmq.InvalidTopicError),
        ({"name": ""}, dmq.InvalidTopicError),
        ({"name": "x" * 250}, dmq.InvalidArgumentError),
        ({"name": "x", "partitions": 0}, dmq.InvalidPartitionsError),
        ({"name": "x", "replicas": 2}, dmq.InvalidReplicationFactorError),
        ({"name": "x", "config": {"no.such.setting": 1}}, dmq.InvalidConfigError),
    ],
)
def test_refusals(c, arguments, kind):
    with pytest.raises(kind) as caught:
        c.topics.create(**arguments)
    assert isinstance(caught.value, dmq.FatalError)
    assert "x" not in c.topics.list()
