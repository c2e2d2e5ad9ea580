package main

func genGemm(a *asm) {
}
