{{ config(materialized='external', format='csv', location=env_var('PIPE_WORK', '/tmp') ~ '/users_export.csv') }}
-- user_id stands last, so that a row cut in the middle has no user_id
select name, day, repeat('x', 200) as pad, user_id from {{ ref('stg_users') }}
