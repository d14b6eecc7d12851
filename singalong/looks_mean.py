"""What all faces share, taken away from every look: the mean of the features of 360 pictures of 30 drawn people.

Made by `python -m bench.looks`; real faces share the same, which is where it was tried.
"""

TEXTURE_STEP = 0.00092457
TEXTURE = (
    "2khJ1><3BQ($d^Xd=Dih4}3YW4-c?8`3SbQ2>I(8*w`BDH5=E+x4>Kp*d5Z|C=^f%H5%!#5a{`1$N1aYM`Xau!`x&M4_Nlw!pjj9"
    "=0EDo<QYB@R@&Rn82Tk7%l#1%@)pa};s;dl;WQ2Kyu{5@0%aSy!x}p!N4?qTCKw^`$>L*5%;dw*8$|of&d&e<&(6MVTwH9v#|<DL"
    "4af8A9UbfQ-Ku|os@=l3Zf>{2#JungG~u}$Wdc*py+<WG8pH4*7$)f1<jhKA;>peXL>te;%fj3CSP#qUKjst>+Ex)h8RR4-`WVjJ"
    "7V;4h{mbxF2jbJqz_-ZP8#Uh29oPw68Z`<~6ewf)=n$~!WJlWD_{R}s+{4Sj"
)
COLOURS_STEP = 0.0012642
COLOURS = (
    "000000000000000000000000001n210neHN&zcU#fdBvi0000D*R2rz{Sf^94cDyz000000R7aq@B{<!1Oxrlwg3PC0002mx3=rx"
    ";p^bx+PAg<006(Qz3<h)58S;E+`aGBz`w7("
)
