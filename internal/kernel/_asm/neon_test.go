package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// encodings are words that the GNU assembler makes of the text next to them.
var encodings = []struct {
	print func(a *asm)
	want  string
}{
	{func(a *asm) { a.V(fadd, 17, 17, 30) }, "0x4e3ed631 // FADD V17.4S, V17.4S, V30.4S"},
	{func(a *asm) { a.V(fsub, 0, 0, 13) }, "0x4eadd400 // FSUB V0.4S, V0.4S, V13.4S"},
	{func(a *asm) { a.V(fmul, 1, 0, 29) }, "0x6e3ddc01 // FMUL V1.4S, V0.4S, V29.4S"},
	{func(a *asm) { a.V(fdiv, 1, 0, 1) }, "0x6e21fc01 // FDIV V1.4S, V0.4S, V1.4S"},
	{func(a *asm) { a.V(fmax, 1, 2, 1) }, "0x4e21f441 // FMAX V1.4S, V2.4S, V1.4S"},
	{func(a *asm) { a.V(fmin, 1, 2, 1) }, "0x4ea1f441 // FMIN V1.4S, V2.4S, V1.4S"},
	{func(a *asm) { a.V(fmaxnm, 7, 0, 7) }, "0x4e27c407 // FMAXNM V7.4S, V0.4S, V7.4S"},
	{func(a *asm) { a.V(fmaxnmv, 4, 4) }, "0x6e30c884 // FMAXNMV S4, V4.4S"},
	{func(a *asm) { a.V(fmla, 18, 30, 31) }, "0x4e3fcfd2 // FMLA V18.4S, V30.4S, V31.4S"},
	{func(a *asm) { a.V(fmls, 1, 2, 27) }, "0x4ebbcc41 // FMLS V1.4S, V2.4S, V27.4S"},
	{func(a *asm) { a.V(faddp, 4, 4, 4) }, "0x6e24d484 // FADDP V4.4S, V4.4S, V4.4S"},
	{func(a *asm) { a.V(fcmgt, 4, 4, 1) }, "0x6ea1e484 // FCMGT V4.4S, V4.4S, V1.4S"},
	{func(a *asm) { a.V(fcmeq, 2, 0, 0) }, "0x4e20e402 // FCMEQ V2.4S, V0.4S, V0.4S"},
	{func(a *asm) { a.V(cmgt, 15, 15, 14) }, "0x4eae35ef // CMGT V15.4S, V15.4S, V14.4S"},
	{func(a *asm) { a.V(add, 4, 4, 18) }, "0x4eb28484 // ADD V4.4S, V4.4S, V18.4S"},
	{func(a *asm) { a.V(sub, 3, 3, 5) }, "0x6ea58463 // SUB V3.4S, V3.4S, V5.4S"},
	{func(a *asm) { a.V(smax, 0, 0, 19) }, "0x4eb36400 // SMAX V0.4S, V0.4S, V19.4S"},
	{func(a *asm) { a.V(smin, 0, 0, 18) }, "0x4eb26c00 // SMIN V0.4S, V0.4S, V18.4S"},
	{func(a *asm) { a.V(umax, 1, 1, 0) }, "0x6ea06421 // UMAX V1.4S, V1.4S, V0.4S"},
	{func(a *asm) { a.V(umaxv, 1, 1) }, "0x6eb0a821 // UMAXV S1, V1.4S"},
	{func(a *asm) { a.V(smaxv, 2, 2) }, "0x4eb0a842 // SMAXV S2, V2.4S"},
	{func(a *asm) { a.V(and, 1, 0, 31) }, "0x4e3f1c01 // AND V1.16B, V0.16B, V31.16B"},
	{func(a *asm) { a.V(orr, 2, 2, 0) }, "0x4ea01c42 // ORR V2.16B, V2.16B, V0.16B"},
	{func(a *asm) { a.V(eor, 1, 0, 31) }, "0x6e3f1c01 // EOR V1.16B, V0.16B, V31.16B"},
	{func(a *asm) { a.V(bit, 2, 3, 4) }, "0x6ea41c62 // BIT V2.16B, V3.16B, V4.16B"},
	{func(a *asm) { a.V(bif, 0, 1, 15) }, "0x6eef1c20 // BIF V0.16B, V1.16B, V15.16B"},
	{func(a *asm) { a.VMove(15, 5) }, "0x4ea51caf // MOV V15.16B, V5.16B"},
	{func(a *asm) { a.V(zip1, 28, 17, 19) }, "0x4ed33a3c // ZIP1 V28.2D, V17.2D, V19.2D"},
	{func(a *asm) { a.V(zip2, 19, 17, 19) }, "0x4ed37a33 // ZIP2 V19.2D, V17.2D, V19.2D"},
	{func(a *asm) { a.V(trn1, 5, 2, 3) }, "0x4e832845 // TRN1 V5.4S, V2.4S, V3.4S"},
	{func(a *asm) { a.V(trn2, 7, 2, 3) }, "0x4e836847 // TRN2 V7.4S, V2.4S, V3.4S"},
	{func(a *asm) { a.V(uzp1, 29, 28, 28) }, "0x0e1c1b9d // UZP1 V29.8B, V28.8B, V28.8B"},
	{func(a *asm) { a.V(uzp2, 30, 28, 28) }, "0x0e1c5b9e // UZP2 V30.8B, V28.8B, V28.8B"},
	{func(a *asm) { a.V(bfmmla, 19, 2, 29) }, "0x6e5dec53 // BFMMLA V19.4S, V2.8H, V29.8H"},
	{func(a *asm) { a.V(smmla, 19, 2, 29) }, "0x4e9da453 // SMMLA V19.4S, V2.16B, V29.16B"},
	{func(a *asm) { a.V(fsqrt, 2, 2) }, "0x6ea1f842 // FSQRT V2.4S, V2.4S"},
	{func(a *asm) { a.V(frintn, 3, 3) }, "0x4e218863 // FRINTN V3.4S, V3.4S"},
	{func(a *asm) { a.V(fcvtns, 3, 3) }, "0x4e21a863 // FCVTNS V3.4S, V3.4S"},
	{func(a *asm) { a.V(scvtf, 19, 19) }, "0x4e21da73 // SCVTF V19.4S, V19.4S"},
	{func(a *asm) { a.V(xtn4h, 0, 0) }, "0x0e612800 // XTN V0.4H, V0.4S"},
	{func(a *asm) { a.V(xtn8b, 0, 0) }, "0x0e212800 // XTN V0.8B, V0.8H"},
	{func(a *asm) { a.V(sxtl, 30, 30) }, "0x0f08a7de // SXTL V30.8H, V30.8B"},
	{func(a *asm) { a.VShift(sshr, 5, 3, 1) }, "0x4f3f0465 // SSHR V5.4S, V3.4S, #1"},
	{func(a *asm) { a.VShift(ushr, 1, 1, 16) }, "0x6f300421 // USHR V1.4S, V1.4S, #16"},
	{func(a *asm) { a.VShift(shl, 5, 5, 23) }, "0x4f3754a5 // SHL V5.4S, V5.4S, #23"},
	{func(a *asm) { a.VE(fmlaElement, 21, 30, 4, 0) }, "0x4f8413d5 // FMLA V21.4S, V30.4S, V4.S[0]"},
	{func(a *asm) { a.VE(fmulElement, 19, 19, 28, 0) }, "0x4f9c9273 // FMUL V19.4S, V19.4S, V28.S[0]"},
	{func(a *asm) { a.VE(mlsElement, 19, 30, 29, 0) }, "0x6f9d43d3 // MLS V19.4S, V30.4S, V29.S[0]"},
	{func(a *asm) { a.VE(sdotElement, 10, 28, 1, 2) }, "0x4f81eb8a // SDOT V10.4S, V28.16B, V1.4B[2]"},
	{func(a *asm) { a.VE(smlalElement, 9, 29, 0, 4) }, "0x0f402ba9 // SMLAL V9.4S, V29.4H, V0.H[4]"},
}

func TestEncoding(t *testing.T) {
	for _, test := range encodings {
		var a asm
		test.print(&a)
		if got := a.code.String(); got != "\tWORD $"+test.want+"\n" {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

var word = regexp.MustCompile(`\tWORD \$(0x[0-9a-f]{8}) // (.*)\n`)

// TestGeneratedWords has the GNU assembler, where there is one for arm64, read the comments of every
// word in the assembly of package kernel, and compares what it makes of them.
func TestGeneratedWords(t *testing.T) {
	const prefix = "aarch64-linux-gnu-"
	if _, err := exec.LookPath(prefix + "as"); err != nil {
		t.Skip("no GNU assembler for arm64: ", err)
	}
	words, source := map[string]string{}, bytes.NewBufferString(".arch armv8.6-a\n")
	var order []string
	files, err := filepath.Glob("../z*_arm64.s")
	if err != nil || len(files) != 3 {
		t.Fatalf("assembly of arm64: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range word.FindAllStringSubmatch(string(text), -1) {
			if before, ok := words[m[2]]; ok && before != m[1] {
				t.Errorf("%s is both %s and %s", m[2], before, m[1])
			} else if !ok {
				words[m[2]] = m[1]
				order = append(order, m[2])
				fmt.Fprintln(source, m[2])
			}
		}
	}
	dir := t.TempDir()
	object, binaryFile := filepath.Join(dir, "object"), filepath.Join(dir, "binary")
	for _, command := range []*exec.Cmd{
		exec.Command(prefix+"as", "-o", object, "-"),
		exec.Command(prefix+"objcopy", "-O", "binary", object, binaryFile),
	} {
		command.Stdin = source
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	assembled, err := os.ReadFile(binaryFile)
	if err != nil || len(assembled) != 4*len(order) || len(order) == 0 {
		t.Fatalf("%d bytes of %d instructions, %v", len(assembled), len(order), err)
	}
	for i, instruction := range order {
		want := fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(assembled[4*i:]))
		if words[instruction] != want {
			t.Errorf("%s is %s, want %s", instruction, words[instruction], want)
		}
	}
}

// TestInnerLoops counts the instructions of the innermost loop of the largest tile of each format,
// and compares the counts with the table in docs/design.md.
func TestInnerLoops(t *testing.T) {
	design, err := os.ReadFile("../../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, loop := range []struct {
		file, function, tile, instruction string
		products                          int // of one instruction
	}{
		{"zgemm", "tileNEON", "7x3", "FMLA", 4},
		{"znarrow", "tileBF16NEON", "7x3", "FMLA", 4},
		{"znarrow", "tileBF16MatrixNEON", "8x3", "BFMMLA", 16},
		{"znarrow", "tileINT8NEON", "7x3", "SMLAL", 4},
		{"znarrow", "tileINT8DotNEON", "7x3", "SDOT", 16},
		{"znarrow", "tileINT8MatrixNEON", "8x3", "SMMLA", 32},
	} {
		text, err := os.ReadFile("../" + loop.file + "_arm64.s")
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(text), "TEXT ·"+loop.function+"(SB)")
		_, body, _ = strings.Cut(body, "\nloop"+loop.tile+":\n")
		body, _, ok := strings.Cut(body, "BGE loop"+loop.tile)
		if !ok {
			t.Fatalf("%s has no loop %s", loop.function, loop.tile)
		}
		var all, multiply, loads, vectors, rest int
		for line := range strings.Lines(body + "BGE\n") {
			all++
			switch {
			case strings.Contains(line, "// "+loop.instruction+" "):
				multiply++
			case strings.Contains(line, "WORD"):
				vectors++
			case strings.Contains(line, "FMOV"), strings.Contains(line, "VLD1"):
				loads++
			default:
				rest++
			}
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %d | %d | %d | %d | %d | %.2f |", loop.function, loop.tile,
			loop.instruction, loop.products, multiply, loads, vectors, rest, float64(all)/float64(multiply))
		if !strings.Contains(string(design), row) {
			t.Errorf("docs/design.md lacks the row\n%s", row)
		}
	}
}
