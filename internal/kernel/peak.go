package kernel

// PeakFLOPs executes rounds of multiply-adds that depend on nothing but themselves, at the active level, and returns how many
// floating-point operations that were: timed, the speed that no product can exceed.
func PeakFLOPs(rounds int) (flops int64) {
	return int64(active.product.peak(rounds)) * int64(rounds)
}

// genericPeakSink keeps the compiler from dropping genericPeak.
var genericPeakSink float32

func genericPeak(rounds int) int {
	var s [8]float32
	x, y := float32(0.5), float32(0.25)
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for range rounds {
		s0 = float32(s0*x) + y
		s1 = float32(s1*x) + y
		s2 = float32(s2*x) + y
		s3 = float32(s3*x) + y
		s4 = float32(s4*x) + y
		s5 = float32(s5*x) + y
		s6 = float32(s6*x) + y
		s7 = float32(s7*x) + y
	}
	genericPeakSink = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
	return 2 * len(s)
}
