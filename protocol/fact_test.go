package protocol

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func testFacts() []Fact {
	at := time.Unix(1_800_000_000, 0)
	return []Fact{
		{Job: link("job"), Kind: Committed, At: at, Copies: 3},
		{Job: link("job"), Kind: FailedRun, At: at, Run: &Failure{Task: Key{Index: 7}, Kind: FailExit, Code: 3, Text: "exit status 3", Tail: []byte("because\n"), Log: link("log")}},
		{Job: link("job"), Kind: Final, At: at, Root: link("root"), Copies: 2},
		{Job: link("job"), Kind: Failed, At: at, Text: "task 0/7 failed"},
		{Job: link("job"), Kind: Cancelled, At: at, Text: "by its submitter"},
	}
}

func TestFactsRoundTrip(t *testing.T) {
	key, author := testKey(t, 1)
	for _, want := range testFacts() {
		signed, err := SignFact(want, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenFact(signed)
		if err != nil {
			t.Fatalf("%s: %v", want.Kind, err)
		}
		want.By = author
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s arrives as %+v", want.Kind, got)
		}
	}
}

func TestAlteredFactsAreRefused(t *testing.T) {
	key, _ := testKey(t, 1)
	for _, f := range testFacts() {
		signed, err := SignFact(f, key)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string, at int, s Signed) {
			t.Helper()
			if got, err := OpenFact(s); !errors.Is(err, ErrReceipt) || got != nil {
				t.Errorf("%s, %s byte %d: opens to %+v, %v", f.Kind, what, at, got, err)
			}
		}
		eachFlip(signed.Body, func(at int, b []byte) { refused("body", at, Signed{Body: b, Sig: signed.Sig}) })
		eachFlip(signed.Sig, func(at int, b []byte) { refused("signature", at, Signed{Body: signed.Body, Sig: b}) })
	}
}

// TestSignaturesAreNotInterchangeable holds that what was signed as one kind of
// thing is not accepted as another.
func TestSignaturesAreNotInterchangeable(t *testing.T) {
	key, author := testKey(t, 1)
	f := testFacts()[0]
	f.By = author
	for _, domain := range []string{domainManifest, domainReceipts, ""} {
		signed, err := sign(domain, Encode(f), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFact(signed); !errors.Is(err, ErrReceipt) {
			t.Errorf("a signature for %q is accepted for a fact: %v", domain, err)
		}
	}
}

func TestMalformedFactsAreRefused(t *testing.T) {
	key, _ := testKey(t, 1)
	const committed, failedRun, final = 0, 1, 2
	for name, c := range map[string]struct {
		of     int
		change func(*Fact)
	}{
		"no job":                    {committed, func(f *Fact) { f.Job = "" }},
		"an unknown kind":           {committed, func(f *Fact) { f.Kind = "rumour" }},
		"no kind":                   {committed, func(f *Fact) { f.Kind = "" }},
		"negative copies":           {committed, func(f *Fact) { f.Copies = -1 }},
		"a root before its time":    {committed, func(f *Fact) { f.Root = link("root") }},
		"a run that did not fail":   {committed, func(f *Fact) { f.Run = &Failure{Kind: FailExit} }},
		"a long text":               {committed, func(f *Fact) { f.Text = string(make([]byte, MaxText+1)) }},
		"final without a root":      {final, func(f *Fact) { f.Root = "" }},
		"a failed run without it":   {failedRun, func(f *Fact) { f.Run = nil }},
		"an unknown kind of run":    {failedRun, func(f *Fact) { f.Run.Kind = "mood" }},
		"a task that cannot be":     {failedRun, func(f *Fact) { f.Run.Task.Index = -1 }},
		"a long tail":               {failedRun, func(f *Fact) { f.Run.Tail = make([]byte, MaxTail+1) }},
		"a long text of the run":    {failedRun, func(f *Fact) { f.Run.Text = string(make([]byte, MaxText+1)) }},
		"a body beyond every bound": {failedRun, func(f *Fact) { f.Run.Tail = make([]byte, 5*MaxText) }},
	} {
		f := testFacts()[c.of]
		c.change(&f)
		signed, err := SignFact(f, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFact(signed); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeterministicFailures(t *testing.T) {
	for kind, want := range map[FailKind]bool{
		FailExit: true, FailTrap: true, FailMemory: true, FailTime: true, FailOutput: true, FailRecord: true, FailLoad: true,
		FailHost: false, FailInput: false,
	} {
		if kind.Deterministic() != want || !kind.known() {
			t.Errorf("%s: deterministic %v, known %v", kind, kind.Deterministic(), kind.known())
		}
	}
}

func FuzzOpenFact(f *testing.F) {
	key, _ := testKey(f, 1)
	for _, fact := range testFacts() {
		signed, err := SignFact(fact, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(Encode(signed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Signed
		if Decode(b, &s) != nil {
			return
		}
		fact, err := OpenFact(s)
		if err == nil && (!fact.Job.Defined() || fact.Kind == "") {
			t.Fatalf("opens to %+v", fact)
		}
	})
}
