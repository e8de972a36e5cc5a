package protocol

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testManifest is a word count: map, merge, reduce, concat.
func testManifest() Manifest {
	created := time.Unix(1_800_000_000, 0)
	module := &Program{Kind: Wasm, Module: link("map.wasm"), Files: []File{{Name: "stop.txt", CID: link("stop")}}}
	sum := &Program{Kind: Exec, Command: "python3 sum.py", Files: []File{{Name: "sum.py", CID: link("sum.py"), Exec: true}}}
	return Manifest{
		Version: ManifestVersion, Nonce: make([]byte, 16), Name: "words", Inputs: []CID{link("in")}, Splits: link("splits"),
		Stages: []Stage{
			{Name: "map", Kind: MapStage, Tasks: 20, Program: module, Combine: sum, Partitions: 4},
			{Name: "merge", Kind: MergeStage, Tasks: 3, Combine: sum, Partitions: 4},
			{Name: "reduce", Kind: ReduceStage, Tasks: 4, Program: sum},
			{Name: "result", Kind: ConcatStage, Tasks: 1},
		},
		Copies: DefaultCopies, Mode: Strict,
		Limits:  Limits{Memory: 1 << 30, Log: 1 << 20, Output: 4 << 30, Timeout: time.Hour},
		Created: created, RunUntil: created.Add(RunFor), KeepUntil: created.Add(RunFor + KeepFor),
	}
}

func TestManifestRoundTrips(t *testing.T) {
	key, submitter := testKey(t, 1)
	want := testManifest()
	doc, err := SignManifest(want, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenManifest(doc)
	if err != nil {
		t.Fatal(err)
	}
	want.Submitter = submitter
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("arrives as %+v", got)
	}
	if got.Tasks() != 28 {
		t.Errorf("%d tasks", got.Tasks())
	}
	again, err := SignManifest(testManifest(), key)
	if err != nil || JobID(again) != JobID(doc) {
		t.Errorf("the same manifest has IDs %s and %s, %v", JobID(doc), JobID(again), err)
	}
	if closure := []CID{link("in"), link("splits"), link("map.wasm"), link("stop"), link("sum.py")}; !slices.Equal(got.Closure(), closure) {
		t.Errorf("closure %v, not %v", got.Closure(), closure)
	}
}

func TestAlteredManifestsAreRefused(t *testing.T) {
	key, _ := testKey(t, 1)
	doc, err := SignManifest(testManifest(), key)
	if err != nil {
		t.Fatal(err)
	}
	eachFlip(doc, func(at int, b []byte) {
		if m, err := OpenManifest(b); !errors.Is(err, ErrManifest) || m != nil {
			t.Errorf("byte %d altered: opens to %+v, %v", at, m, err)
		}
	})
}

func TestBadManifestsAreRefused(t *testing.T) {
	key, submitter := testKey(t, 1)
	for name, change := range map[string]func(*Manifest){
		"a newer version":            func(m *Manifest) { m.Version++ },
		"a short nonce":              func(m *Manifest) { m.Nonce = m.Nonce[1:] },
		"a long name":                func(m *Manifest) { m.Name = strings.Repeat("n", MaxName+1) },
		"too many inputs":            func(m *Manifest) { m.Inputs = slices.Repeat(m.Inputs, MaxInputs+1) },
		"an input without a CID":     func(m *Manifest) { m.Inputs = append(m.Inputs, "") },
		"no stages":                  func(m *Manifest) { m.Stages = nil },
		"too many stages":            func(m *Manifest) { m.Stages = slices.Repeat(m.Stages[3:], MaxStages+1) },
		"no copies":                  func(m *Manifest) { m.Copies = 0 },
		"too many copies":            func(m *Manifest) { m.Copies = MaxCopies + 1 },
		"no mode":                    func(m *Manifest) { m.Mode = "" },
		"no memory":                  func(m *Manifest) { m.Limits.Memory = 0 },
		"no time":                    func(m *Manifest) { m.Limits.Timeout = 0 },
		"a negative log":             func(m *Manifest) { m.Limits.Log = -1 },
		"a negative output":          func(m *Manifest) { m.Limits.Output = -1 },
		"ends before it begins":      func(m *Manifest) { m.RunUntil = m.Created.Add(-time.Second) },
		"kept for less than it runs": func(m *Manifest) { m.KeepUntil = m.RunUntil.Add(-time.Second) },
		"kept for ever":              func(m *Manifest) { m.KeepUntil = m.Created.Add(MaxLife + time.Minute) },
		"no split table":             func(m *Manifest) { m.Splits = "" },
		"no tasks":                   func(m *Manifest) { m.Stages[0].Tasks = 0 },
		"too many tasks":             func(m *Manifest) { m.Stages[0].Tasks = MaxTasks + 1 },
		"too many partitions":        func(m *Manifest) { m.Stages[0].Partitions = MaxPartitions + 1 },
		"begins with a reduce":       func(m *Manifest) { m.Stages = m.Stages[2:] },
		"ends with a reduce":         func(m *Manifest) { m.Stages = m.Stages[:3] },
		"two maps":                   func(m *Manifest) { m.Stages[1] = m.Stages[0] },
		"an unknown stage":           func(m *Manifest) { m.Stages[1].Kind = "sort" },
		"a merge of fewer":           func(m *Manifest) { m.Stages[1].Tasks = 2 },
		"a merge that repartitions":  func(m *Manifest) { m.Stages[1].Partitions = 5 },
		"a reduce of other parts":    func(m *Manifest) { m.Stages[2].Tasks = 5 },
		"a concat of a shuffle":      func(m *Manifest) { m.Stages = append(m.Stages[:1], m.Stages[3]) },
		"a reduce without a shuffle": func(m *Manifest) { m.Stages[0].Partitions = 0; m.Stages = append(m.Stages[:1], m.Stages[2:]...) },
		"a map without a program":    func(m *Manifest) { m.Stages[0].Program = nil },
		"a merge with a program":     func(m *Manifest) { m.Stages[1].Program = m.Stages[0].Program },
		"a concat with partitions":   func(m *Manifest) { m.Stages[3].Partitions = 1 },
		"a reduce with a combiner":   func(m *Manifest) { m.Stages[2].Combine = m.Stages[0].Combine },
		"wasm without a module":      func(m *Manifest) { m.Stages[0].Program = &Program{Kind: Wasm} },
		"exec without a command":     func(m *Manifest) { m.Stages[0].Program = &Program{Kind: Exec} },
		"a func without a name":      func(m *Manifest) { m.Stages[0].Program = &Program{Kind: Func} },
		"an unknown program":         func(m *Manifest) { m.Stages[0].Program = &Program{Kind: "jar", Command: "x"} },
		"a bad combiner":             func(m *Manifest) { m.Stages[1].Combine = &Program{} },
		"too many files": func(m *Manifest) {
			m.Stages[0].Program.Files = slices.Repeat(m.Stages[0].Program.Files, MaxFiles+1)
		},
		"two files of one name": func(m *Manifest) {
			m.Stages[0].Program.Files = slices.Repeat(m.Stages[0].Program.Files, 2)
		},
		"a file without content": func(m *Manifest) { m.Stages[0].Program.Files[0].CID = "" },
		"beyond 1 MiB": func(m *Manifest) {
			merge := m.Stages[1]
			merge.Combine = &Program{Kind: Exec, Command: strings.Repeat("c", 60<<10)}
			merges := []Stage{merge}
			for merge.Tasks = 1; len(merges) < 20; {
				merges = append(merges, merge)
			}
			m.Stages = slices.Concat(m.Stages[:1], merges, m.Stages[2:])
			if err := m.check(); err != nil {
				t.Errorf("a long chain of merges: %v", err)
			}
		},
	} {
		m := testManifest()
		change(&m)
		if _, err := SignManifest(m, key); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: signs with %v", name, err)
		}
		m.Submitter = submitter
		signed, err := sign(domainManifest, Encode(m), key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenManifest(Encode(signed)); !errors.Is(err, ErrManifest) || got != nil {
			t.Errorf("%s: opens to %v, %v", name, got, err)
		}
	}
}

func TestFileNamesStayInTheirFolder(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a b.txt": true, ".profile": true, "...": true, "ü": true, strings.Repeat("x", 255): true,
		"": false, ".": false, "..": false, "a/b": false, "/a": false, `a\b`: false, "a\x00": false, strings.Repeat("x", 256): false,
	} {
		if plainName(name) != want {
			t.Errorf("plainName(%q) = %v", name, !want)
		}
	}
}

// TestManifestSize holds that a manifest does not grow with its tasks: the
// largest that the bounds allow in inputs fits.
func TestManifestSize(t *testing.T) {
	key, _ := testKey(t, 1)
	m := testManifest()
	m.Inputs = slices.Repeat(m.Inputs, MaxInputs)
	m.Stages = slices.Insert(m.Stages, 2, m.Stages[1])
	m.Stages[0].Tasks, m.Stages[1].Tasks, m.Stages[2].Tasks = MaxTasks, MaxTasks/MergeArity, MaxTasks/MergeArity/MergeArity
	if _, err := SignManifest(m, key); err != nil {
		t.Error(err)
	}
}

// TestClosureNamesEachRootOnce draws jobs whose roots overlap.
func TestClosureNamesEachRootOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.SampledFrom([]CID{link("a"), link("b"), link("c"), ""})
		m := Manifest{Inputs: rapid.SliceOf(few).Draw(t, "inputs"), Splits: few.Draw(t, "splits")}
		p := &Program{Module: few.Draw(t, "module"), Files: []File{{CID: few.Draw(t, "file")}}}
		m.Stages = []Stage{{Program: p}, {Combine: p}}
		want := map[CID]bool{m.Splits: true, p.Module: true, p.Files[0].CID: true}
		for _, c := range m.Inputs {
			want[c] = true
		}
		delete(want, "")
		got := m.Closure()
		for _, c := range got {
			if !want[c] {
				t.Fatalf("%v names %s twice or for nothing", got, c)
			}
			delete(want, c)
		}
		if len(want) > 0 {
			t.Fatalf("%v lacks %v", got, want)
		}
	})
}

func FuzzOpenManifest(f *testing.F) {
	key, _ := testKey(f, 1)
	doc, err := SignManifest(testManifest(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add(Encode(testManifest()))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := OpenManifest(b)
		if err == nil && m.check() != nil {
			t.Fatalf("opens to %+v", m)
		}
		// What is inside has bounds of its own, whoever signed it.
		var inner Manifest
		if Decode(b, &inner) == nil && inner.check() == nil && inner.Tasks() > MaxStages*MaxTasks {
			t.Fatalf("%d tasks pass", inner.Tasks())
		}
	})
}
