package guest

import "io"

// input is a wasm module's standard input. Each frame consumed gives the
// parent leave to send one more.
type input struct {
	s     *server
	t     *childTask
	frame []byte // whole
	rest  []byte // what is left of it
	idle  func() // called before waiting
}

func (in *input) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		frame, ok := in.next()
		if !ok {
			return 0, io.EOF
		}
		in.frame, in.rest = frame, frame
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	if len(in.rest) == 0 {
		in.s.recycle(in.frame)
		if in.s.send(frameCredit, nil) != nil {
			in.s.leave()
		}
	}
	return n, nil
}

func (in *input) next() ([]byte, bool) {
	select {
	case frame, ok := <-in.t.input:
		return frame, ok
	default:
	}
	in.idle()
	frame, ok := <-in.t.input
	return frame, ok
}

// output gathers what a wasm module prints: many print a line at a time.
type output struct {
	s   *server
	buf []byte
}

func (o *output) Write(p []byte) (int, error) {
	if len(o.buf)+len(p) > chunkSize {
		o.flush()
	}
	for rest := p; ; {
		n := min(len(rest), chunkSize-len(o.buf))
		o.buf = append(o.buf, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return len(p), nil
		}
		o.flush()
	}
}

func (o *output) flush() {
	if len(o.buf) == 0 {
		return
	}
	if o.s.send(frameOutput, o.buf) != nil {
		o.s.leave()
	}
	o.buf = o.buf[:0]
}

// logWriter sends a program's standard error at once: it must outlive a kill.
type logWriter struct{ s *server }

func (l logWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if l.s.send(frameLog, rest[:n]) != nil {
			l.s.leave()
		}
		rest = rest[n:]
	}
	return len(p), nil
}
