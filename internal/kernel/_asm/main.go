// Command _asm writes the amd64 and arm64 assembly of package kernel and the Go declarations of its
// functions. Run it with "go generate ./internal/kernel".
//
// It is a plain text generator: a Go loop prints instructions of the Go assembler, and nothing
// more. What an instruction means is to be looked up in the processor's manual, not here.
package main

import "log"

func main() {
	log.SetFlags(0)
	for _, file := range []struct {
		base, arch string
		generate   func(*asm)
	}{
		{"zgemm", "amd64", genGemm},
		{"zrows", "amd64", genRows},
		{"znarrow", "amd64", genNarrow},
		{"zgemm", "arm64", genNEONGemm},
		{"zrows", "arm64", genNEONRows},
		{"znarrow", "arm64", genNEONNarrow},
	} {
		a := &asm{arch: file.arch}
		file.generate(a)
		if err := a.Write("..", file.base); err != nil {
			log.Fatal(err)
		}
	}
}
