package guest

import (
	"bytes"
	"io"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 8).Draw(t, "contents")
		var wire bytes.Buffer
		c := newConn(&wire, &wire)
		for _, content := range sent {
			if err := c.send(frameOutput, content); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 100)
		for _, want := range sent {
			kind, got, err := c.receive(buf)
			if err != nil || kind != frameOutput || !bytes.Equal(got, want) {
				t.Fatalf("got %c %x %v, want %x", kind, got, err, want)
			}
		}
		if _, _, err := c.receive(buf); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
	})
}

// FuzzReceive: no bytes make it panic or take more memory than a frame may.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x01x"))
	f.Add([]byte("o\xff\xff\xff\xffx"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := newConn(bytes.NewReader(wire), io.Discard)
		for {
			_, content, err := c.receive(nil)
			if err != nil {
				return
			}
			if len(content) > len(wire) {
				t.Fatalf("%d bytes out of %d", len(content), len(wire))
			}
		}
	})
}

// FuzzListen has a child say anything while it has a task: a program may have
// broken out of what holds it.
func FuzzListen(f *testing.F) {
	f.Add(said(frameStarted, nil, frameOutput, []byte("a\t1\n"), frameLog, []byte("log"), frameCredit, nil, frameResult, protocol.Encode(taskResult{Peak: 1})))
	f.Add(said(frameStarted, nil, frameStarted, nil))
	f.Add(said(frameResult, protocol.Encode(taskResult{Kind: protocol.FailExit, Code: 3, Text: "status 3"})))
	f.Add(said(frameOutput, bytes.Repeat([]byte("x"), 300)))
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 200
		var out bytes.Buffer
		run := Run{Out: &out, Limits: Limits{Output: limit, Log: limit}}
		task := newTask(&child{conn: newConn(bytes.NewReader(wire), io.Discard)}, run, nil)
		task.run.Program.Kind = protocol.Exec // which is asked to end before it is killed
		task.listen()
		if task.grace != nil {
			task.grace.Stop()
		}
		if out.Len() > limit {
			t.Fatalf("%d bytes came out, at most %d", out.Len(), limit)
		}
		if len(task.credits) > window {
			t.Fatalf("%d credits, at most %d", len(task.credits), window)
		}
	})
}

// said is what a child has sent: frames and their contents in turn.
func said(parts ...any) []byte {
	var wire bytes.Buffer
	c := newConn(nil, &wire)
	for i := 0; i < len(parts); i += 2 {
		content, _ := parts[i+1].([]byte)
		_ = c.send(parts[i].(frameType), content) // a buffer takes everything
	}
	return wire.Bytes()
}
