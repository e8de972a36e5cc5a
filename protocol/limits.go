package protocol

import "time"

// Limits of everything that a peer may send. A message beyond them is refused
// before it is decoded.
const (
	// MaxMessage bounds one framed message. A full batch of 64 receipts with
	// inline results of 4 KiB each is 300 KiB; a ledger reply is cut to fit.
	MaxMessage = 2 << 20
	// MaxManifest bounds an encoded manifest: it has no per-task data.
	MaxManifest = 1 << 20
	// MaxBlock bounds a block: UnixFS chunks are 1 MiB, and their nodes less.
	MaxBlock = 2 << 20
	// MaxInline is the largest result that rides inside its receipt, so that
	// a tiny result costs no block transfer of its own.
	MaxInline = 4 << 10
	// MaxReceiptBatch is how many receipts one signature covers: Ed25519
	// costs 36 us to sign and 77 us to check, a hash 1 us.
	MaxReceiptBatch = 64
	// MaxTail bounds the end of a task's log that a failure carries.
	MaxTail = 4 << 10
	// MaxText bounds names, reasons and error texts.
	MaxText = 8 << 10
	// MaxName bounds the names of jobs, stages and functions.
	MaxName = 256
	// MaxTasks bounds the tasks of one stage: 256 shards, each with stewards
	// of its own.
	MaxTasks = 1 << 17
	// MaxAcks bounds what one message acknowledges.
	MaxAcks = 1024
	// MaxStages bounds the stages of one job.
	MaxStages = 64
	// MaxPartitions bounds the partitions of a shuffle.
	MaxPartitions = 4096
	// MaxCopies bounds the replication factor of a job.
	MaxCopies = 16
	// MaxOfferBatch is how many tasks one offer holds.
	MaxOfferBatch = 16
	// MaxFanIn is how many shuffle files a reduce reads when no combiner makes a
	// merge tree worth its copies.
	MaxFanIn = 512
	// MaxInputs bounds the inputs that a job or an award may name.
	MaxInputs = 4096
	// MaxBytes bounds what a job may say that its inputs have: an exbibyte, with
	// which one can still reckon.
	MaxBytes = 1 << 60
	// MaxExecutions bounds the runs that a shard may report: far more than are
	// kept of its tasks.
	MaxExecutions = 1 << 30
	// MaxFiles bounds the files that travel with a program.
	MaxFiles = 256
	// MaxClaims bounds the tasks that one ping may claim.
	MaxClaims = 8192
	// MaxFacts bounds the facts of one job that one message names.
	MaxFacts = 4096
	// MaxRoots bounds the DAGs that one Hold or Held names: the inputs of a job
	// and everything else of its closure fit.
	MaxRoots = 2 * MaxInputs
	// MaxPriority bounds how much earlier or later than others a job may ask
	// to be served.
	MaxPriority = 100
	// MaxCores bounds the slots of a node and what one task may take.
	MaxCores = 4096
	// MaxLabels bounds the labels of a node, and those that a job demands.
	MaxLabels = 64
	// MaxEnv bounds the environment variables of a job, and MaxEnvBytes all of
	// them together.
	MaxEnv      = 256
	MaxEnvBytes = 64 << 10
	// MaxRetries bounds how often a task may fail for its hosts' reasons.
	MaxRetries = 100
	// MaxShards bounds the shards of a job.
	MaxShards = MaxTasks / ShardLeaves
	// MaxEstimate bounds what a peer may predict: longer is as good as never.
	MaxEstimate = 30 * 24 * time.Hour
	// MaxStory bounds the events of one job that a steward remembers for
	// those who ask, MaxStoryPage those that one answer holds.
	MaxStory     = 4096
	MaxStoryPage = 1024
	// MaxItems bounds the CBOR items of one message. Decoding makes up to some
	// hundred bytes of each, however short it is: a list of empty answers in a
	// full frame would take a gigabyte before its length could be looked at. An
	// award with MaxInputs inputs has 80,000.
	MaxItems = 1 << 17
	// MaxList bounds each list of a message while it is decoded: twice the
	// longest that any message may have.
	MaxList = 1 << 14
	// MaxJobsListed bounds the jobs that one answer lists, MaxRuns the runs of
	// tasks.
	MaxJobsListed = 500
	MaxRuns       = 4096
	// MaxSources bounds the nodes that one Hold names as sources: a whole
	// region may hold what is asked for.
	MaxSources = 256
)

// Constants of the job protocol: its timing is part of what peers agree on.
const (
	// DefaultCopies is the replication factor of what a job cannot recompute:
	// manifest, program, inputs and root.
	DefaultCopies = 3
	// IntermediateCopies is the replication factor of what lineage can
	// recompute.
	IntermediateCopies = 2
	// ShardLeaves is how many tasks of the first stage, with the merges over
	// them, are looked after together: a power of the merge arity, so that a
	// shard ends in one task, and below 1,024 tasks in all.
	ShardLeaves = 512
	// MergeArity is the fan-in of the merge tree.
	MergeArity = 8
	// ConcatWidth is the fan-in of the tree that makes one file of a stage's
	// results: as wide as a shard, and half of what a UnixFS node may link.
	ConcatWidth = ShardLeaves
	// OfferFanout is how many nodes are asked for one offer: four fresh
	// answers beat any amount of gossip.
	OfferFanout = 4
	// PingEvery is how often partners (a worker and a steward, or two
	// stewards) tell each other that they live and what they hold.
	PingEvery = 250 * time.Millisecond
	// ClaimTTL is how long a claim is good for: eight lost pings.
	ClaimTTL = 2 * time.Second
	// RankWait is how long a steward waits for the ranks before it.
	RankWait = time.Second
	// DigestEvery is how often whoever holds something of a job tells its
	// present stewards so.
	DigestEvery = 5 * time.Second
	// DoneFlush is how long a receipt waits, while more tasks wait where it was
	// made, for others to share a signature and the messages that carry it: a
	// worker has more waiting than it finishes in that time.
	DoneFlush = 20 * time.Millisecond
	// AckEvery is how long a steward gathers what it acknowledges.
	AckEvery = 100 * time.Millisecond
	// AgingStep is the head start of one step of priority: a task of
	// priority 3 waits as if it had come three steps earlier, so none starves.
	AgingStep = 10 * time.Second
	// RunFor is how long a job may run, KeepFor how long its result is kept
	// after that.
	RunFor  = 24 * time.Hour
	KeepFor = 7 * 24 * time.Hour
	// MaxLife bounds both together: every node that hears of a job remembers it
	// until then.
	MaxLife = 366 * 24 * time.Hour
)

// Protocol IDs. The number is the major version: peers that do not share one
// do not speak.
const (
	// JobProtocol carries the one-way messages of messages.go.
	JobProtocol = "/meshnode/job/1"
	// CallProtocol carries the requests and answers of calls.go.
	CallProtocol = "/meshnode/call/1"
	// BlockProtocol moves blocks.
	BlockProtocol = "/meshnode/block/1"
	// GossipProtocol carries the packets and streams of the failure detector.
	GossipProtocol = "/meshnode/swim/1"
	// DHTPrefix is the prefix of the Kademlia protocol, so that a mesh never
	// mixes with the public network.
	DHTPrefix = "/meshnode"
)
