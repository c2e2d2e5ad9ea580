// Command _asm writes the amd64 assembly of package kernel and the Go declarations of its
// functions. Run it with "go generate ./internal/kernel".
//
// It is a plain text generator: a Go loop prints instructions of the Go assembler, and nothing
// more. What an instruction means is to be looked up in the processor's manual, not here.
package main

import "log"

func main() {
	log.SetFlags(0)
	for base, generate := range map[string]func(*asm){"zgemm": genGemm, "zrows": genRows, "znarrow": genNarrow} {
		a := new(asm)
		generate(a)
		if err := a.Write("..", base); err != nil {
			log.Fatal(err)
		}
	}
}
