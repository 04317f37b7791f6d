"""Common passwords, which attackers try first: words, keyboard patterns and digits after them.

All are in lower case; `passwords.check_rule` ignores case.  Passwords shorter than the rule allows
are not listed.
"""

_WORDS = """
    password passw0rd p@ssword p@ssw0rd pa$$word pa$$w0rd passwort password! letmein! letmein1
    welcome1 welcome! welcome123 sunshine princess football baseball basketball superman
    batman123 spiderman starwars pokemon1 pikachu1 dragon123 monkey123 master123 shadow123
    michael1 jennifer jordan23 charlie1 andrew123 daniel123 jessica1 ashley123 thomas123
    iloveyou iloveyou1 iloveyou2 trustno1 whatever computer internet download security
    secret123 changeme changeme1 changeme123 default1 admin123 admin1234 admin12345
    administrator rootroot toor1234 guest123 user1234 username test1234 testtest testing1
    testing123 temp1234 temporary access14 login123 hello123 hellohello goodmorning
    liverpool chelsea1 arsenal1 barcelona manchester yankees1 mustang1 corvette mercedes
    ferrari1 porsche1 toyota123 harley123 yamaha123 samsung1 samsung123 iphone123 android1
    google123 facebook facebook1 youtube1 twitter1 linkedin microsoft windows1 linux123
    chocolate cheese123 cookie123 butterfly flowers1 summer2023 summer2024 summer2025
    winter2023 winter2024 winter2025 spring2024 spring2025 autumn2024 autumn2025
    december november october1 september february january1 birthday friday13 midnight
    blink182 metallica nirvana1 slipknot eminem123 greenday elephant tigger123 snoopy123
    scooby123 garfield hercules infinity phoenix1 thunder1 maverick gandalf1 voldemort
    harrypotter hogwarts startrek ncc1701d bookstore bookshop bookworm books123 library1
    reading1 matrix123 killer123 hunter123 ranger123 soccer123 hockey123 tennis123 golfer123
    freedom1 liberty1 america1 australia england1 germany1 deutschland frankreich berlin123
    london123 paris123 newyork1 chicago1 hallo123 schatz123 passwort1 passwort123 geheim123
    motdepasse bonjour1 azertyuiop soleil123 contraseña contrasena mipassword qwertz123
    jesus123 jesuschrist blessed1 blessing angel123 heaven123 lovely123 loveyou1 mylove123
    babygirl babygirl1 sweetheart darling1 honey123 beautiful gorgeous
"""
_KEYS = """
    12345678 123456789 1234567890 0123456789 01234567 87654321 987654321 9876543210 11223344
    12341234 12344321 123123123 123321123 112233445566 147258369 159753456 741852963 789456123
    13579246 24681357 12121212 10203040 19841984 20002000 1q2w3e4r 1q2w3e4r5t 1qaz2wsx
    1qaz2wsx3edc qazwsxedc qwertyui qwertyuiop qwerty12 qwerty123 qwerty1234 qwerty12345
    qwe123qwe qweasdzxc q1w2e3r4 q1w2e3r4t5 asdfghjk asdfghjkl asdfasdf asdf1234 zxcvbnm1
    zxcvbnm123 zaq12wsx zaq1zaq1 abcdefgh abcdefghi abcd1234 abc12345 abc123456 abcabcabc
    a1b2c3d4 a1s2d3f4 aa123456 a1234567 a12345678 a123456789 aaa11111 1a2b3c4d 123qweasd
    123456qwerty 1234qwer 12345qwert 123abc123 123456abc 12345abc password1 password12
    password123 password1234 password12345 passw0rd1 p@ssw0rd1 p@ssw0rd123 pass1234 pass12345
    !qaz2wsx !q2w3e4r 1234567a 123456aa 123456789a 0987654321 00112233 52013140 5201314a
"""

COMMON = frozenset(word for word in (_WORDS + _KEYS).split())
