package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// choice is the value of a flag that takes one of a few words; the first is
// the default.
type choice[T ~string] struct {
	value   T
	allowed []T
}

func (c *choice[T]) Set(text string) error {
	if !slices.Contains(c.allowed, T(text)) {
		return errors.New("it is one of " + c.words())
	}
	c.value = T(text)
	return nil
}

// words lists what is allowed, for people.
func (c *choice[T]) words() string {
	words := make([]string, len(c.allowed))
	for i, w := range c.allowed {
		words[i] = string(w)
	}
	last := len(words) - 1
	return fmt.Sprintf("%s or %s", strings.Join(words[:last], ", "), words[last])
}

func (c *choice[T]) Type() string { return "word" }

func (c *choice[T]) String() string { return string(c.value) }

// logLevel is the value of --log-level.
type logLevel slog.Level

func (l *logLevel) Set(text string) error {
	if (*slog.Level)(l).UnmarshalText([]byte(text)) != nil {
		return errors.New("it is one of debug, info, warn or error")
	}
	return nil
}

func (l *logLevel) Type() string { return "word" }

// String is empty: the help names the default.
func (l *logLevel) String() string { return "" }
