package main

// An operation is an instruction on three vector registers, on amd64 and on arm64.
type operation struct {
	avx  string
	neon vop
}

var (
	addFloats = operation{"VADDPS", fadd}
	subFloats = operation{"VSUBPS", fsub}
	mulFloats = operation{"VMULPS", fmul}
	divFloats = operation{"VDIVPS", fdiv}
	maxFloats = operation{"VMAXPS", fmax}   // of a NaN as the last operand, the NaN
	minFloats = operation{"VMINPS", fmin}   // likewise
	maxNumber = operation{"VMAXPS", fmaxnm} // of a NaN as the first operand and a number, the number
	andBits   = operation{"VANDPS", and}
	orBits    = operation{"VORPS", orr}
	xorBits   = operation{"VXORPS", eor}
	addInts   = operation{"VPADDD", add}
	subInts   = operation{"VPSUBD", sub}

	scaleByPower = operation{avx: "VSCALEFPS"} // to = a * 2ᵇ, with AVX-512 only

	addProduct = operation{"VFMADD231PS", fmla}  // to += a * b
	subProduct = operation{"VFNMADD231PS", fmls} // to -= a * b
	// multiplyAddTo sets to to to*a + b, which takes more than one instruction on arm64.
	multiplyAddTo = operation{avx: "VFMADD213PS"}
)
