// Package node is one peer of a mesh.
package node
