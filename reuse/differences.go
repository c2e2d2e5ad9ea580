package reuse

import "github.com/tokencache/tokencache/internal/kernel"

// differences keeps, for every row of every site, what was computed of it last, and the finite
// differences (Taylor factors) over the positions at which it was computed:
//
//	d0 = f(p)    d1 = (d0 - d0') / (p - p')    d2 = (d1 - d1') / (p - p')
//
// where the primes are what was kept at the position p' before. Its forecast at a later position q
// is the Taylor series d0 + d1·h + d2·h²/2 with h = q - p, as far as differences exist. Rows age
// separately.
type differences struct {
	order, width int
	from         int         // values of positions before this one make no differences
	weights      [][]float32 // of each h and difference, in place of the Taylor series'; nil for that
	values       [][]float32 // of each site, [rows, order+1, width]
	at           [][]int32   // of each site: the position at which each row was computed last
	known        [][]uint8   // of each site: how many differences of each row exist, up to order+1
}

// newDifferences returns empty differences for a number of sites, each of the same number of rows.
func newDifferences(sites, rows, width, order int) *differences {
	d := &differences{order: order, width: width}
	for range sites {
		d.values = append(d.values, make([]float32, rows*(order+1)*width))
		d.at = append(d.at, make([]int32, rows))
		d.known = append(d.known, make([]uint8, rows))
	}
	return d
}

// differencesBytes returns the memory of newDifferences.
func differencesBytes(sites, rows, width, order int) int64 {
	return int64(sites) * int64(rows) * (int64(order+1)*int64(width)*4 + 4 + 1)
}

func (d *differences) reset() {
	for i := range d.known {
		clear(d.known[i])
	}
}

// of returns d0 up to d_order of a row, one after another.
func (d *differences) of(site, row int) []float32 {
	n := (d.order + 1) * d.width
	return d.values[site][row*n : (row+1)*n]
}

// record takes in fresh, what was computed of a row at position p, and overwrites it.
func (d *differences) record(site, row, p int, fresh []float32) {
	values, w := d.of(site, row), d.width
	known, gap := int(d.known[site][row]), p-int(d.at[site][row])
	if gap <= 0 || int(d.at[site][row]) < d.from {
		known = 0 // the positions began anew, or what is known does not count
	}
	known = min(known, d.order)
	// Each difference gives its place to the new one, and becomes the next.
	for i := range known {
		di := values[i*w : (i+1)*w]
		kernel.Sub(di, fresh, di)
		kernel.Scale(di, di, 1/float32(gap))
		swap(di, fresh)
	}
	copy(values[known*w:(known+1)*w], fresh)
	d.at[site][row], d.known[site][row] = int32(p), uint8(known+1)
}

// swap exchanges the contents of a and b.
func swap(a, b []float32) {
	for i, v := range a {
		a[i], b[i] = b[i], v
	}
}

// addForecast adds the forecast of a row at position p to dst.
func (d *differences) addForecast(dst []float32, site, row, p int) {
	values, w := d.of(site, row), d.width
	gap := p - int(d.at[site][row])
	factor := float32(1)
	for i := range int(d.known[site][row]) {
		if i == 0 {
			kernel.Add(dst, dst, values[:w])
			continue
		}
		if d.weights != nil {
			factor = d.weights[gap][i]
		} else {
			factor *= float32(gap) / float32(i)
		}
		kernel.AXPY(dst, factor, values[i*w:(i+1)*w])
	}
}
