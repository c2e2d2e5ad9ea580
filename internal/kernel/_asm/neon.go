package main

import (
	"fmt"
	"math"
	"strings"
)

// Go's assembler does not know most of the arm64 instructions on vectors of floats, so the generator
// encodes all those that compute, and leaves loads, stores and general registers to the assembler.
// Operands are in the order of the processor's manual: the destination first.

// A vop is an instruction on vector registers: its name, its word with all registers 0, and the
// arrangements of its operands as the manual writes them.
type vop struct {
	name   string
	word   uint32
	shapes string
}

var (
	fadd   = vop{"FADD", 0x4e20d400, "4S 4S 4S"}
	fsub   = vop{"FSUB", 0x4ea0d400, "4S 4S 4S"}
	fmul   = vop{"FMUL", 0x6e20dc00, "4S 4S 4S"}
	fdiv   = vop{"FDIV", 0x6e20fc00, "4S 4S 4S"}
	fmax   = vop{"FMAX", 0x4e20f400, "4S 4S 4S"}
	fmin   = vop{"FMIN", 0x4ea0f400, "4S 4S 4S"}
	fmaxnm = vop{"FMAXNM", 0x4e20c400, "4S 4S 4S"} // of a number and a quiet NaN, the number
	fmla   = vop{"FMLA", 0x4e20cc00, "4S 4S 4S"}
	fmls   = vop{"FMLS", 0x4ea0cc00, "4S 4S 4S"}
	faddp  = vop{"FADDP", 0x6e20d400, "4S 4S 4S"}
	fcmgt  = vop{"FCMGT", 0x6ea0e400, "4S 4S 4S"}
	cmgt   = vop{"CMGT", 0x4ea03400, "4S 4S 4S"}
	fcmeq  = vop{"FCMEQ", 0x4e20e400, "4S 4S 4S"}
	add    = vop{"ADD", 0x4ea08400, "4S 4S 4S"}
	sub    = vop{"SUB", 0x6ea08400, "4S 4S 4S"}
	smax   = vop{"SMAX", 0x4ea06400, "4S 4S 4S"}
	smin   = vop{"SMIN", 0x4ea06c00, "4S 4S 4S"}
	umax   = vop{"UMAX", 0x6ea06400, "4S 4S 4S"}
	and    = vop{"AND", 0x4e201c00, "16B 16B 16B"}
	orr    = vop{"ORR", 0x4ea01c00, "16B 16B 16B"}
	mov    = vop{"MOV", 0x4ea01c00, "16B 16B"} // ORR of a register with itself
	eor    = vop{"EOR", 0x6e201c00, "16B 16B 16B"}
	bit    = vop{"BIT", 0x6ea01c00, "16B 16B 16B"} // inserts where the last operand's bits are 1
	bif    = vop{"BIF", 0x6ee01c00, "16B 16B 16B"} // inserts where they are 0
	zip1   = vop{"ZIP1", 0x4ec03800, "2D 2D 2D"}
	zip2   = vop{"ZIP2", 0x4ec07800, "2D 2D 2D"}
	trn1   = vop{"TRN1", 0x4e802800, "4S 4S 4S"}
	trn2   = vop{"TRN2", 0x4e806800, "4S 4S 4S"}
	uzp1   = vop{"UZP1", 0x0e001800, "8B 8B 8B"}
	uzp2   = vop{"UZP2", 0x0e005800, "8B 8B 8B"}
	smmla  = vop{"SMMLA", 0x4e80a400, "4S 16B 16B"} // FEAT_I8MM
	bfmmla = vop{"BFMMLA", 0x6e40ec00, "4S 8H 8H"}  // FEAT_BF16

	fsqrt   = vop{"FSQRT", 0x6ea1f800, "4S 4S"}
	frintn  = vop{"FRINTN", 0x4e218800, "4S 4S"}
	fcvtns  = vop{"FCVTNS", 0x4e21a800, "4S 4S"}
	scvtf   = vop{"SCVTF", 0x4e21d800, "4S 4S"}
	xtn4h   = vop{"XTN", 0x0e612800, "4H 4S"}
	xtn8b   = vop{"XTN", 0x0e212800, "8B 8H"}
	sxtl    = vop{"SXTL", 0x0f08a400, "8H 8B"}
	umaxv   = vop{"UMAXV", 0x6eb0a800, "S 4S"} // of all lanes
	smaxv   = vop{"SMAXV", 0x4eb0a800, "S 4S"}
	fmaxnmv = vop{"FMAXNMV", 0x6e30c800, "S 4S"}

	sshr = vop{"SSHR", 0x4f000400, "4S 4S"}
	ushr = vop{"USHR", 0x6f000400, "4S 4S"}
	shl  = vop{"SHL", 0x4f005400, "4S 4S"}

	// The last operand is an element of its register.
	fmlaElement  = vop{"FMLA", 0x4f801000, "4S 4S S"}
	fmulElement  = vop{"FMUL", 0x4f809000, "4S 4S S"}
	mlsElement   = vop{"MLS", 0x6f804000, "4S 4S S"}
	sdotElement  = vop{"SDOT", 0x4f80e000, "4S 16B 4B"} // FEAT_DotProd; signed bytes in groups of 4
	smlalElement = vop{"SMLAL", 0x0f402000, "4S 4H H"}
)

// encode prints the word of an instruction, with the instruction as a comment.
func (a *asm) encode(op vop, fields uint32, last string, registers ...int) {
	var operands []string
	for i, shape := range strings.Fields(op.shapes) {
		if registers[i] < 0 || registers[i] > 31 {
			panic(fmt.Sprintf("asm: %s of registers %v", op.name, registers))
		}
		fields |= uint32(registers[i]) << [...]int{0, 5, 16}[i]
		operand := fmt.Sprintf("V%d.%s", registers[i], shape)
		if shape == "S" && i == 0 {
			operand = fmt.Sprintf("S%d", registers[i])
		}
		operands = append(operands, operand)
	}
	a.P("WORD $0x%08x // %s %s%s", op.word|fields, op.name, strings.Join(operands, ", "), last)
}

// V prints an instruction on whole registers.
func (a *asm) V(op vop, registers ...int) { a.encode(op, 0, "", registers...) }

// VE prints an instruction whose last operand is element i of its register. Elements of 16 bits are
// of registers below 16.
func (a *asm) VE(op vop, d, n, m, i int) {
	fields := uint32(i&1)<<21 | uint32(i>>1)<<11
	if strings.HasSuffix(op.shapes, " H") {
		if m > 15 {
			panic(fmt.Sprintf("asm: %s by element of register %d", op.name, m))
		}
		fields = uint32(i&1)<<20 | uint32(i>>1&1)<<21 | uint32(i>>2)<<11
	}
	a.encode(op, fields, fmt.Sprintf("[%d]", i), d, n, m)
}

// VShift prints a shift of 32-bit integers by a constant.
func (a *asm) VShift(op vop, d, n, by int) {
	fields := uint32(64-by) << 16
	if op.name == "SHL" {
		fields = uint32(32+by) << 16
	}
	a.encode(op, fields, fmt.Sprintf(", #%d", by), d, n)
}

// VMove copies a register.
func (a *asm) VMove(d, n int) { a.encode(mov, uint32(n)<<16, "", d, n) }

// VZero clears a register.
func (a *asm) VZero(d int) { a.P("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", d) }

// VFill sets all lanes to a bit pattern, through a general register.
func (a *asm) VFill(d int, bits uint32, scratch string) {
	if bits == 0 {
		a.VZero(d)
		return
	}
	a.P("MOVW $0x%x, %s", bits, scratch)
	a.P("VDUP %s, V%d.S4", scratch, d)
}

func bitsOf(v float64) uint32 { return math.Float32bits(float32(v)) }
