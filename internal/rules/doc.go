// Package rules holds the repository to its own rules, as tests: which package
// may import which, that the decisions in scheduler stay pure, the shape of
// packages and files, and that what the documents point to exists.
//
// There is nothing to call: go test ./internal/rules reads the tree's source
// and says which file breaks which rule. It needs no network and compiles
// nothing.
package rules
