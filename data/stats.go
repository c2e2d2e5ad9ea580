package data

import "math"

// Stats is what is known of the pixels of a set.
type Stats struct {
	Images    int     // that were read
	Mean, Std float64 // of the pixels of all channels, bytes divided by 255
}

// Stats reads at most limit images, evenly spaced over the set. A broken one is left out if Options
// said so.
func (s *Set) Stats(limit int) (Stats, error) {
	var histogram [256]int64
	var r Stats
	n := min(limit, s.Len())
	for k := range n {
		m, err := s.Image(int(int64(k) * int64(s.Len()) / int64(n)))
		if err != nil {
			if skipped(err) {
				continue
			}
			return Stats{}, err
		}
		for _, v := range m.Pix {
			histogram[v]++
		}
		r.Images++
	}
	var count, sum, squares float64
	for v, n := range histogram {
		count += float64(n)
		sum += float64(n) * float64(v)
		squares += float64(n) * float64(v*v)
	}
	if count > 0 {
		r.Mean = sum / count / 255
		r.Std = math.Sqrt(max(squares/count-(sum/count)*(sum/count), 0)) / 255
	}
	return r, nil
}
