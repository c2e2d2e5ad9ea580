package reuse

// Ranker is a Run that ranks tokens, and tells how: for those who draw it.
type Ranker interface {
	Run
	// Importance returns the importance alpha of every token in every block, [L, N], for a sample of the pass that Begin was told of, or nil where nothing is ranked: on I-steps, and
	// where P-steps compute all tokens or none. It holds until the next call, and may be called until the pass begins.
	Importance(sample int) []float32
}

// Importance implements Ranker.
func (r *tokenRun) Importance(sample int) []float32 {
	if p := r.positions[sample]; !r.full[p] && r.policy.Ratio > 0 && r.policy.Ratio < 1 {
		r.score(sample, p)
		return r.alpha[sample]
	}
	return nil
}
