"""The functions' own binaries, driven as Lambda drives them, between the S3, SQS and SSM of moto."""
