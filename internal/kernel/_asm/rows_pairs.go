package main

// pairs writes the operations on rows that are kept in bfloat16, a word having element i of the
// first half of the row in its lower half and that of the second half of the row in its upper half.
func (r *rows) pairs() {
	const upper = uint32(0xffff0000)
	r.maps("packPairs", "dst []float32, lo []float32, hi []float32", `
sets the lower halves of dst to lo and the upper halves to hi, each rounded to bfloat16, ties to even.`, func() {
		r.load(0, "lo")
		r.load(1, "hi")
		for x := range vec(2) {
			r.shift("VPSRAD", sshr, 2, x, 16)
			r.do(andBits, 2, 2, uint32(1))
			r.do(addInts, 2, 2, uint32(0x7fff))
			r.do(addInts, x, x, vec(2))
		}
		r.shift("VPSRAD", sshr, 0, 0, 16)
		r.do(andBits, 0, 0, ^upper)
		r.do(andBits, 1, 1, upper)
		r.do(orBits, 0, 0, vec(1))
		r.store("dst", 0)
	})
	r.maps("axpyPairs", "lo []float32, hi []float32, x []float32, s float32", `
adds s times the lower halves of x to lo and s times the upper halves to hi, each rounded once.`, func() {
		r.load(0, "x")
		r.shift("VPSLLD", shl, 1, 0, 16)
		r.load(2, "lo")
		r.do(addProduct, 2, 1, r.scalars["s"])
		r.store("lo", 2)
		r.do(andBits, 0, 0, upper)
		r.load(2, "hi")
		r.do(addProduct, 2, 0, r.scalars["s"])
		r.store("hi", 2)
	})
}

// shift shifts the integers of a by a number of bits.
func (r *rows) shift(avx string, neon vop, to, a vec, bits int) {
	if r.neon() {
		r.VShift(neon, int(to), int(a), bits)
		return
	}
	r.P("%s $%d, %s, %s", avx, bits, r.name(a), r.name(to))
}
