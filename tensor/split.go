package tensor

// split divides n items into parts of nearly equal size, each but the last a multiple of unit.
type split struct{ n, unit, parts int }

func newSplit(n, unit, parts int) split {
	return split{n: n, unit: unit, parts: max(1, min(parts, (n+unit-1)/unit))}
}

// bounds returns the items lo up to hi of part i.
func (s split) bounds(i int) (lo, hi int) {
	units := (s.n + s.unit - 1) / s.unit
	return min(s.n, i*units/s.parts*s.unit), min(s.n, (i+1)*units/s.parts*s.unit)
}

// partsPerWorker makes parts small enough that workers which finish early find another, and large
// enough that handing them out costs nothing.
const partsPerWorker = 4

// divide splits a product among workers, over panels of columns first: a panel of weights then
// stays in one core's cache while all rows use it.
func divide(workers, panels, rows int) (p, r split) {
	if workers == 1 {
		return newSplit(panels, 1, 1), newSplit(rows, 8, 1)
	}
	p = newSplit(panels, 1, workers*partsPerWorker)
	need := 1
	if p.parts < 2*workers {
		need = (workers*partsPerWorker + p.parts - 1) / p.parts
	}
	return p, newSplit(rows, 8, need)
}

// divideRows splits a product whose left-hand side has yet to be converted over rows alone, so that
// each part converts its own. That saves the wait for the conversion, and pays where the weights are
// small enough for every core's cache and the rows enough for all workers.
func divideRows(workers, rows int, weightBytes int64) (r split, ok bool) {
	const small, fewest, enough = 320 << 10, 16, 32
	if workers == 1 || rows < fewest*workers || weightBytes > small {
		return split{}, false
	}
	return newSplit(rows, 8, workers*max(1, min(rows/(enough*workers), partsPerWorker))), true
}
