package reuse

import "github.com/tokencache/tokencache/seam"

// keyCache holds the keys and values of all tokens, so that computed tokens attend to pruned ones,
// too. With CachedKeys they stay in the KV cache from when they were computed last. With
// ForecastKeys the KV cache is that of one block at a time: before a block runs it is filled with
// the forecasts of its pruned tokens, and what the block computes is then recorded.
type keyCache struct {
	kv   *seam.KVCache
	past *differences // with forecasts, of each block: rows of 2D, keys and then values
}

// needsKV reports whether a KV cache is needed.
func (t *TokenCache) needsKV() bool {
	return (t.Keys == CachedKeys || t.Keys == ForecastKeys) && t.Ratio > 0 && t.Ratio < 1
}

// forecastsKeys reports whether keys and values are forecast. A forecast of order 0 is what the KV
// cache holds.
func (t *TokenCache) forecastsKeys() bool {
	return t.needsKV() && t.Keys == ForecastKeys && (t.Order > 0 || t.Learned)
}

// newKeys returns the key cache of a run, or nil if none is needed.
func (p *resolved) newKeys(m *seam.Shape, samples int) *keyCache {
	switch {
	case !p.needsKV():
		return nil
	case p.forecastsKeys():
		return &keyCache{past: p.differences(m.Cache, m.Blocks, samples*m.Tokens, 2*m.Width)}
	}
	return &keyCache{}
}

// keyBytes returns the memory of a keyCache.
func (t *TokenCache) keyBytes(m *seam.Shape, samples int) int64 {
	switch {
	case !t.needsKV():
		return 0
	case t.forecastsKeys():
		return t.differencesBytes(m.Cache, m.Blocks, samples*m.Tokens, 2*m.Width) +
			seam.KVCacheBytes(1, samples, m.Tokens, m.Width)
	}
	return seam.KVCacheBytes(m.Blocks, samples, m.Tokens, m.Width)
}

// begin makes the KV cache for a number of samples.
func (k *keyCache) begin(m *seam.Shape, samples int) {
	if k.kv != nil && k.kv.Samples() == samples {
		return
	}
	blocks := m.Blocks
	if k.past != nil {
		blocks = 1
	}
	k.kv = seam.NewKVCache(blocks, samples, m.Tokens, m.Width)
}

// forecastKeys returns the KV cache for the block that runs, of rows tokens.
func (r *tokenRun) forecastKeys(rows int) *seam.KVCache {
	if r.keys.past != nil && len(r.index) < rows {
		r.g.EachRow(rows, r.keys.past.width, r.forecastKeysRow)
	}
	return r.keys.kv
}

// forecastKeysOf sets the keys and values of a row that is not computed to their forecast.
func (r *tokenRun) forecastKeysOf(row int) {
	if r.isKept[row] {
		return
	}
	kv := r.keys.kv.Of(r.block).Row(row)
	clear(kv)
	r.keys.past.addForecast(kv, r.block, row, r.positions[row/r.tokens])
}

// recordKeys takes in the keys and values that the block computed.
func (r *tokenRun) recordKeys() {
	if r.keys.past != nil {
		r.g.EachRow(len(r.index), r.keys.past.width, r.recordKeysRow)
	}
}

// recordKeysOf takes in those of computed row i. It overwrites them in the KV cache, where the next
// block puts its own.
func (r *tokenRun) recordKeysOf(i int) {
	row := int(r.index[i])
	if p := r.positions[row/r.tokens]; r.writes(p) {
		r.keys.past.record(r.block, row, p, r.keys.kv.Of(r.block).Row(row))
	}
}
