//go:build !purego

package kernel

var rowNEON = rowOps{
	add:       addNEON,
	sub:       subNEON,
	mul:       mulNEON,
	mulAdd:    mulAddNEON,
	scale:     scaleNEON,
	axpy:      axpyNEON,
	blend:     blendNEON,
	relu:      reluNEON,
	exp:       expNEON,
	tanh:      tanhNEON,
	gelu:      geluNEON,
	silu:      siluNEON,
	normalise: normaliseNEON,
	modulate:  modulateNEON,
	expSum:    expSumNEON,
	exp2Sum:   exp2SumNEON,

	sum:           sumNEON,
	dot:           dotNEON,
	l1Diff:        l1DiffNEON,
	l1Norm:        l1NormNEON,
	squaresAround: squaresAroundNEON,
	highest:       highestNEON,

	geluGrad:    geluGradNEON,
	siluGrad:    siluGradNEON,
	softmaxGrad: softmaxGradNEON,
	adamW:       adamWNEON,

	packPairs: packPairsNEON,
	axpyPairs: axpyPairsNEON,

	fused: &fusedOps{
		swiGLU:      swiGLUNEON,
		swiGLUGrad:  swiGLUGradNEON,
		scaleMul:    scaleMulNEON,
		weightedDot: weightedDotNEON,
		rmsNormGrad: rmsNormGradNEON,
		rotate:      rotateNEON,
		difference:  differenceNEON,
	},
}
