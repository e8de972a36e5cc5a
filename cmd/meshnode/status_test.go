package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/meshnode/meshnode/node"
)

func TestStatusShowsWhatWasRefused(t *testing.T) {
	show := func(refused map[string]int64) string {
		var out bytes.Buffer
		if err := printTable(&out, statusRows(node.Status{Name: "a", Refused: refused})); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, none := range []map[string]int64{nil, {}} {
		if got := show(none); strings.Contains(got, "refused") {
			t.Errorf("a node that refused nothing says:\n%s", got)
		}
	}
	got := show(map[string]int64{"not_a_member": 2, "malformed": 30, "bad_signature": 2})
	if !strings.Contains(got, "30 malformed, 2 bad signature, 2 not a member") {
		t.Errorf("it says:\n%s", got)
	}
}
