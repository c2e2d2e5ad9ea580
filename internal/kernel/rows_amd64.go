//go:build !purego

package kernel

var rowAVX2 = rowOps{
	add:       addAVX2,
	sub:       subAVX2,
	mul:       mulAVX2,
	mulAdd:    mulAddAVX2,
	scale:     scaleAVX2,
	axpy:      axpyAVX2,
	blend:     blendAVX2,
	relu:      reluAVX2,
	exp:       expAVX2,
	tanh:      tanhAVX2,
	gelu:      geluAVX2,
	silu:      siluAVX2,
	normalise: normaliseAVX2,
	modulate:  modulateAVX2,
	expSum:    expSumAVX2,
	exp2Sum:   exp2SumAVX2,

	sum:           sumAVX2,
	dot:           dotAVX2,
	l1Diff:        l1DiffAVX2,
	l1Norm:        l1NormAVX2,
	squaresAround: squaresAroundAVX2,
	highest:       highestAVX2,

	geluGrad:    geluGradAVX2,
	siluGrad:    siluGradAVX2,
	softmaxGrad: softmaxGradAVX2,
	adamW:       adamWAVX2,

	packPairs: packPairsAVX2,
	axpyPairs: axpyPairsAVX2,

	fused: &fusedOps{
		swiGLU:      swiGLUAVX2,
		swiGLUGrad:  swiGLUGradAVX2,
		scaleMul:    scaleMulAVX2,
		weightedDot: weightedDotAVX2,
		rmsNormGrad: rmsNormGradAVX2,
		rotate:      rotateAVX2,
		difference:  differenceAVX2,
	},
}

var rowAVX512 = rowOps{
	add:       addAVX512,
	sub:       subAVX512,
	mul:       mulAVX512,
	mulAdd:    mulAddAVX512,
	scale:     scaleAVX512,
	axpy:      axpyAVX512,
	blend:     blendAVX512,
	relu:      reluAVX512,
	exp:       expAVX512,
	tanh:      tanhAVX512,
	gelu:      geluAVX512,
	silu:      siluAVX512,
	normalise: normaliseAVX512,
	modulate:  modulateAVX512,
	expSum:    expSumAVX512,
	exp2Sum:   exp2SumAVX512,

	sum:           sumAVX512,
	dot:           dotAVX512,
	l1Diff:        l1DiffAVX512,
	l1Norm:        l1NormAVX512,
	squaresAround: squaresAroundAVX512,
	highest:       highestAVX512,

	geluGrad:    geluGradAVX512,
	siluGrad:    siluGradAVX512,
	softmaxGrad: softmaxGradAVX512,
	adamW:       adamWAVX512,

	packPairs: packPairsAVX512,
	axpyPairs: axpyPairsAVX512,

	fused: &fusedOps{
		swiGLU:      swiGLUAVX512,
		swiGLUGrad:  swiGLUGradAVX512,
		scaleMul:    scaleMulAVX512,
		weightedDot: weightedDotAVX512,
		rmsNormGrad: rmsNormGradAVX512,
		rotate:      rotateAVX512,
		difference:  differenceAVX512,
	},
}
