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


def test_alter_sets_and_takes_back(c, topic):
    altered = c.topics.alter(topic, {"retention.ms": 5000, "max.message.bytes": 2000})
    assert altered.config == {"retention.ms": "5000", "max.message.bytes": "2000"}
    assert c.topics.alter(topic, {"retention.ms": None}).config == {"max.message.bytes": "2000"}
    assert c.topics.describe(topic).config == {"max.message.bytes": "2000"}
    with pytest.raises(dmq.BatchTooLargeError):  # it is in effect
        c.publish(topic, b"x" * 3000)
    c.topics.alter(topic, {"max.message.bytes": None})


def test_config_tells_what_is_in_force(c, topic):
    before = c.topics.config(topic)
    assert before["durability"][:5] == ("durability", "sync", True, "sync", "sync or async")
    assert before["min.insync.replicas"].value == "1"
    c.topics.alter(topic, {"durability": "async"})
    after = c.topics.config(topic)
    assert after["durability"].value == "async" and not after["durability"].is_default
    assert {n: s for n, s in after.items() if n != "durability"} == {
        n: s for n, s in before.items() if n != "durability"
    }
    with pytest.raises(dmq.UnknownTopicOrPartitionError) as caught:
        c.topics.config(topic + "x")
    assert caught.value.hint == f"did you mean '{topic}'?"


def test_partitions_are_added_not_taken(c, topic):
    c.publish(topic, b"before")
    assert len(c.topics.add_partitions(topic, 1).partitions) == 2
    assert len(c.topics.add_partitions(topic, total=3).partitions) == 3
    assert len(c.topics.add_partitions(topic, total=3).partitions) == 3  # a retry adds none
    for partition in range(3):
        c.publish(topic, b"after", partition=partition)
    assert sorted(m.text() for m in c.read(topic)) == ["after"] * 3 + ["before"]
    with pytest.raises(dmq.InvalidPartitionsError, match="cannot become fewer"):
        c.topics.add_partitions(topic, total=2)
    for wrong in ({}, {"count": 0}, {"count": 1, "total": 5}):
        with pytest.raises(dmq.InvalidArgumentError, match="give how many"):
            c.topics.add_partitions(topic, **wrong)


def test_leaders_are_elected(c, topic):
    assert c.topics.elect(topic) == c.topics.elect(topic, 0) == c.topics.elect(None) == []
    assert c.topics.elect(topic, unclean=True, accept_data_loss=True) == []  # it has a leader
    with pytest.raises(dmq.InvalidRequestError, match="loses acknowledged records"):
        c.topics.elect(topic, unclean=True)
    with pytest.raises(dmq.InvalidRequestError, match="topic by topic"):
        c.topics.elect(None, unclean=True, accept_data_loss=True)
    with pytest.raises(dmq.InvalidArgumentError, match="belong to unclean"):
        c.topics.elect(topic, broker=101)
    with pytest.raises(dmq.UnknownTopicOrPartitionError, match="there is no partition 1"):
        c.topics.elect(topic, 1)
    with pytest.raises(dmq.UnknownTopicOrPartitionError) as caught:
        c.topics.elect(topic + "x")
    assert caught.value.hint == f"did you mean '{topic}'?"


def test_what_an_election_tells():
    row = {"topicName": "t", "partition": 2, "leader": -1, "leaderEpoch": 5, "formerLeader": -1}
    row |= {"error": 80, "message": "not in sync", "unclean": False, "lastInSync": []}
    failed = dmq.client._election(row)
    assert isinstance(failed.error, dmq.PreferredLeaderNotAvailableError)
    assert (failed.topic, failed.partition, str(failed.error)) == ("t", 2, "not in sync")
    row |= {"error": 0, "leader": 102, "unclean": True, "lastInSync": [101]}
    elected = dmq.client._election(row)
    assert elected[2:] == (102, 5, -1, None, "not in sync", True, [101])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"min.insync.replicas": 2}, "above the replication factor 1"),
        ({"retention.mss": 1}, "did you mean retention.ms"),
        ({"retention.mss": None}, "did you mean retention.ms"),
        ({"durability": "maybe"}, "must be sync or async"),
        ({"segment.bytes": 1}, "must be from 4096"),
    ],
)
def test_alter_refuses_all_or_nothing(c, topic, config, said):
    with pytest.raises(dmq.InvalidConfigError, match=said):
        c.topics.alter(topic, {"retention.ms": 7, **config})
    assert c.topics.describe(topic).config == {}


def test_the_cluster_is_described(c):
    cluster = c.admin("describe_cluster")
    assert [(b["id"], b["registered"], b["fenced"]) for b in cluster["brokers"]] == [
        (101, True, False)
    ]
    (controller,) = cluster["controllers"]
    assert controller["leader"] and controller["brokers"] == [101]
    assert cluster["leader"] == controller["id"] and cluster["leaderlessCount"] == 0
